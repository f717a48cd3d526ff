// Wrong uses of the module: if one of them compiled, the compiler would report the unused directive above it.
import { Mesh, Peer, SocketIoSignaling, type Signaling } from "../../../packages/client/src/parlor.js";
import { SessionSignaling } from "../../../packages/client/src/signaling-session.js";

declare const signaling: Signaling;
declare const mesh: Mesh;

// @ts-expect-error: the user id is required
new SocketIoSignaling({ name: "Ann" });
// @ts-expect-error: a token is a string
new SocketIoSignaling({ userId: "ann", name: "Ann", token: 7 });
// @ts-expect-error: this protocol has no names
new SessionSignaling({ name: "Ann" });
// @ts-expect-error: not every protocol can hang up for both
signaling.hangUp();
// @ts-expect-error: a room name is required
signaling.join();
// @ts-expect-error: there is no such event
signaling.addEventListener("user-gone", () => {});
// @ts-expect-error: a user has no such field
signaling.addEventListener("user-joined", ({ detail }) => detail.nickname);
// @ts-expect-error: an answer has no offer
signaling.addEventListener("answer", ({ detail }) => detail.offer);
// @ts-expect-error: a candidate is not a description
signaling.offer("bob", { candidate: "candidate:1" });
// @ts-expect-error: only protocols have it
signaling.transmit("offer", "bob", { type: "offer" });
// @ts-expect-error: signaling is required
new Mesh({ name: "Ann" });
// @ts-expect-error: unknown kind
mesh.send({ smell: null });
// @ts-expect-error: a member may have no connection yet
mesh.addEventListener("stream", ({ detail }) => detail.peer.stream);
// @ts-expect-error: the members are a map
mesh.members[0];
// @ts-expect-error: the outgoing stream is required
new Peer({ polite: true });
