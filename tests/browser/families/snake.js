/** A call for two: the second peer asks the first to send an offer. */
import { Call } from "./call.js";

const OTHER = Call.ONLY;

export async function join(server, roomId) {
  const sendCandidate = (_, { candidate, sdpMLineIndex: label }) => socket.emit("webrtc_ice_candidate", { roomId, label, candidate });
  const call = await Call.start(sendCandidate);
  const socket = io(server, { forceNew: true });
  const describe = (type, sdp) => socket.emit(type, { type, sdp, roomId });
  let isCreator = false;
  socket.on("room_created", () => (isCreator = true));
  socket.on("room_joined", () => socket.emit("start_call", roomId));
  socket.on("start_call", async () => {
    if (isCreator) describe("webrtc_offer", await call.offer(OTHER));
  });
  socket.on("webrtc_offer", async (offer) => {
    if (!isCreator) describe("webrtc_answer", await call.answer(OTHER, offer));
  });
  socket.on("webrtc_answer", (answer) => call.accept(OTHER, answer));
  socket.on("webrtc_ice_candidate", ({ label, candidate }) => call.candidate(OTHER, { sdpMLineIndex: label, candidate }));
  socket.emit("join_room", roomId);
  // The second page must not join before the first.
  await new Promise((resolve) => {
    socket.on("room_created", resolve);
    socket.on("room_joined", resolve);
  });
}
