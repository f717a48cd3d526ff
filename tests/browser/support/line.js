/**
 * A telephone line that can be cut, or fall silent: a TCP proxy in front of the server.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** @param {number} port where the server listens */
export async function openLine(port) {
  const sockets = new Set();
  /** Those that came while nothing passed; null while all does. @type {import("node:net").Socket[] | null} */
  let waiting = null;
  const keep = (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // Cutting is what this is for.
  };
  const put = (near) => {
    const far = connect(port, "127.0.0.1");
    keep(far);
    near.pipe(far).pipe(near);
    near.on("close", () => far.resetAndDestroy());
    far.on("close", () => near.resetAndDestroy());
  };
  const proxy = createServer((near) => {
    keep(near);
    if (waiting) waiting.push(near);
    else put(near);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    port: proxy.address().port,
    /** Forwards nothing from now on, and closes nothing: open connections never receive data again. */
    fallSilent() {
      waiting = [];
      for (const socket of sockets) {
        socket.removeAllListeners("close");
        socket.unpipe().removeAllListeners("data").pause();
      }
    },
    /** New connections are put through again, and so are those that were begun meanwhile. */
    speak() {
      const begun = waiting;
      waiting = null;
      for (const near of begun) if (!near.destroyed) put(near);
    },
    /** Resets all connections in both directions, without a close frame; new ones are forwarded. */
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async close() {
      proxy.close();
      this.cut();
      await once(proxy, "close");
    },
  };
}
