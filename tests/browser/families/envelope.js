/** A client of `/ws`: the joining peer sends offers to all peers in `room:state`. */
import { Call } from "./call.js";

export async function join(server, roomId) {
  const send = (type, payload) => socket.send(JSON.stringify({ type, payload, timestamp: Date.now() }));
  const sendCandidate = (targetUserId, { candidate, sdpMid, sdpMLineIndex }) =>
    send("ice:candidate", { candidate, sdpMid, sdpMLineIndex, targetUserId, roomId });
  const call = await Call.start(sendCandidate);
  const socket = new WebSocket(`${server.replace("http", "ws")}/ws`);
  const me = crypto.randomUUID();
  const on = {
    "connection:ack": () => send("room:join", { roomId, user: { id: me, displayName: "A page", role: "participant" } }),
    "room:state": async ({ participants }) => {
      for (const { userId } of participants.filter(({ userId }) => userId !== me)) {
        send("sdp:offer", { ...(await call.offer(userId)), targetUserId: userId, roomId });
      }
    },
    "sdp:offer": async ({ fromUserId, sdp }) => {
      const answer = await call.answer(fromUserId, { type: "offer", sdp });
      send("sdp:answer", { ...answer, targetUserId: fromUserId, roomId });
    },
    "sdp:answer": ({ fromUserId, sdp }) => call.accept(fromUserId, { type: "answer", sdp }),
    "ice:candidate": ({ fromUserId, ...candidate }) => call.candidate(fromUserId, candidate),
    "room:participant-left": ({ userId }) => call.close(userId),
  };
  socket.onmessage = ({ data }) => {
    const { type, payload } = JSON.parse(data);
    on[type]?.(payload);
  };
}
