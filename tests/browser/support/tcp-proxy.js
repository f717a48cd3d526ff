/**
 * A TCP proxy in front of the server that resets its connections, or forwards nothing for a while.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Starts a proxy on a free port. @param {number} port of the server */
export async function openProxy(port) {
  const sockets = new Set();
  /** Connections accepted while the proxy is blocked; null while it is not. @type {import("node:net").Socket[] | null} */
  let waiting = null;
  const track = (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // Resets are expected.
  };
  const forward = (near) => {
    const far = connect(port, "127.0.0.1");
    track(far);
    near.pipe(far).pipe(near);
    near.on("close", () => far.resetAndDestroy());
    far.on("close", () => near.resetAndDestroy());
  };
  const proxy = createServer((near) => {
    track(near);
    if (waiting) waiting.push(near);
    else forward(near);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    port: proxy.address().port,
    /** Stops forwarding without closing anything: open connections never receive data again. */
    block() {
      waiting = [];
      for (const socket of sockets) {
        socket.removeAllListeners("close");
        socket.unpipe().removeAllListeners("data").pause();
      }
    },
    /** Forwards new connections again, and those accepted while the proxy was blocked. */
    unblock() {
      const accepted = waiting;
      waiting = null;
      for (const near of accepted) if (!near.destroyed) forward(near);
    },
    /** Resets all connections in both directions, without a close frame; new ones are forwarded. */
    reset() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async close() {
      proxy.close();
      this.reset();
      await once(proxy, "close");
    },
  };
}
