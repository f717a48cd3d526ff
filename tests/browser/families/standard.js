/** The events of docs/socketio.md: the joining peer sends offers to all peers in `room-users`. */
import { Call } from "./call.js";

export async function join(server, roomId) {
  const send = (event, targetId, body) => socket.emit(event, { roomId, targetId, ...body });
  const call = await Call.start((id, candidate) => send("ice-candidate", id, { candidate }));
  const socket = io(server, { forceNew: true });
  socket.on("room-users", async (users) => {
    for (const { socketId } of users) send("offer", socketId, { offer: await call.offer(socketId) });
  });
  socket.on("offer", async ({ socketId, offer }) => send("answer", socketId, { answer: await call.answer(socketId, offer) }));
  socket.on("answer", ({ socketId, answer }) => call.accept(socketId, answer));
  socket.on("ice-candidate", ({ socketId, candidate }) => call.candidate(socketId, candidate));
  socket.on("user-left", ({ socketId }) => call.close(socketId));
  socket.emit("join-room", { roomId });
}
