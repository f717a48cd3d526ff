/** Existing peers receive the bare id of a joining peer, and send offers. */
import { Call } from "./call.js";

export async function join(server, room) {
  const call = await Call.start((target, candidate) => socket.emit("ice-candidate", { target, candidate }));
  const socket = io(server, { forceNew: true });
  socket.on("user-connected", async (id) => socket.emit("offer", { target: id, caller: socket.id, sdp: await call.offer(id) }));
  socket.on("offer", async ({ caller, sdp }) => {
    socket.emit("answer", { target: caller, caller: socket.id, sdp: await call.answer(caller, sdp) });
  });
  socket.on("answer", ({ caller, sdp }) => call.accept(caller, sdp));
  socket.on("ice-candidate", ({ from, candidate }) => call.candidate(from, candidate));
  socket.on("user-disconnected", (id) => call.close(id));
  socket.on("connect", () => socket.emit("join-room", room, socket.id));
}
