/** Whole descriptions, candidates included, are the only signals, as simple-peer sends them with `trickle: false`. */
import { Call } from "./call.js";

export async function join(server, room) {
  const call = await Call.start();
  const socket = io(server, { forceNew: true });
  socket.on("all users", async (ids) => {
    for (const id of ids) socket.emit("sending signal", { userToSignal: id, callerID: socket.id, signal: await call.offer(id) });
  });
  socket.on("user joined", async ({ signal, callerID }) => {
    socket.emit("returning signal", { signal: await call.answer(callerID, signal), callerID });
  });
  socket.on("receiving returned signal", ({ signal, id }) => call.accept(id, signal));
  socket.emit("join room", room);
}
