// How it is not used: where one of these would compile, the compiler complains of the line above it.
import { Mesh, Peer, SocketIoSignaling, type Signaling } from "../../../packages/client/src/parlor.js";
import { SessionSignaling } from "../../../packages/client/src/signaling-session.js";

declare const signaling: Signaling;
declare const mesh: Mesh;

// @ts-expect-error: the user id is required
new SocketIoSignaling({ name: "Ann" });
// @ts-expect-error: a token is a text
new SocketIoSignaling({ userId: "ann", name: "Ann", token: 7 });
// @ts-expect-error: this protocol has no names
new SessionSignaling({ name: "Ann" });
// @ts-expect-error: not every protocol can hang up for both
signaling.hangUp();
// @ts-expect-error: a room has a name
signaling.join();
// @ts-expect-error: there is no such event
signaling.addEventListener("user-gone", () => {});
// @ts-expect-error: a user has no such key
signaling.addEventListener("user-joined", ({ detail }) => detail.nickname);
// @ts-expect-error: it is the answer that an answer carries
signaling.addEventListener("answer", ({ detail }) => detail.offer);
// @ts-expect-error: a candidate is no description
signaling.offer("bob", { candidate: "candidate:1" });
// @ts-expect-error: only for protocols
signaling.transmit("offer", "bob", { type: "offer" });
// @ts-expect-error: the way to the server is needed
new Mesh({ name: "Ann" });
// @ts-expect-error: there is no such kind
mesh.send({ smell: null });
// @ts-expect-error: a member may have no connection yet
mesh.addEventListener("stream", ({ detail }) => detail.peer.stream);
// @ts-expect-error: the members are a map
mesh.members[0];
// @ts-expect-error: what is sent must be tied together
new Peer({ polite: true });
