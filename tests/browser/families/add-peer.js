/** The server sends `add-peer` to both sides, and determines which of them offers. */
import { Call } from "./call.js";

export async function join(server, room) {
  const call = await Call.start((peerID, iceCandidate) => socket.emit("relay-ice", { peerID, iceCandidate }));
  const socket = io(server, { transports: ["websocket"], forceNew: true });
  const describe = (peerID, sessionDescription) => socket.emit("relay-sdp", { peerID, sessionDescription });
  socket.on("add-peer", async ({ peerID, createOffer }) => {
    if (createOffer) describe(peerID, await call.offer(peerID));
  });
  socket.on("session-description", async ({ peerID, sessionDescription }) => {
    if (sessionDescription.type === "offer") describe(peerID, await call.answer(peerID, sessionDescription));
    else await call.accept(peerID, sessionDescription);
  });
  socket.on("ice-candidate", ({ peerID, iceCandidate }) => call.candidate(peerID, iceCandidate));
  socket.on("remove-peer", ({ peerID }) => call.close(peerID));
  socket.emit("join", { room });
}
