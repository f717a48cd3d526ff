export { Mesh } from "./mesh.js";
export { Peer } from "./peer.js";
export { SignalingError } from "./signaling-error.js";
export { SocketIoSignaling } from "./signaling-socketio.js";
export type Member = import("./mesh.js").Member;
export type Signaling = import("./signaling.js").Signaling;
export type User = import("./signaling.js").User;
