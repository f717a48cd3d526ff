/**
 * A telephone line that can be cut: a TCP proxy in front of the server.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** @param {number} port where the server listens */
export async function openLine(port) {
  const sockets = new Set();
  const keep = (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // Cutting is what this is for.
  };
  const proxy = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    keep(near);
    keep(far);
    near.pipe(far).pipe(near);
    near.on("close", () => far.resetAndDestroy());
    far.on("close", () => near.resetAndDestroy());
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    /** Resets every connection there is, both ways, with no goodbye; new ones are put through. */
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
