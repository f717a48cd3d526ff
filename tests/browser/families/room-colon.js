/** The existing peer calls the joining peer. */
import { Call } from "./call.js";

export async function join(server, room) {
  const call = await Call.start();
  const socket = io(server, { forceNew: true });
  const email = `${crypto.randomUUID()}@example.com`;
  socket.on("user:joined", async ({ id }) => socket.emit("user:call", { to: id, offer: await call.offer(id) }));
  socket.on("incomming:call", async ({ from, offer }) => {
    socket.emit("call:accepted", { to: from, ans: await call.answer(from, offer) });
  });
  socket.on("call:accepted", ({ from, ans }) => call.accept(from, ans));
  socket.emit("room:join", { email, room });
  // Such pages show the room after the response of the server.
  await new Promise((resolve) => socket.on("room:join", resolve));
}
