/**
 * A call of everybody in a room, over Parlor: copy this folder, and import this file.
 *
 * - {@link Mesh} the call: a connection to each, and what to send to them
 * - {@link SocketIoSignaling} the way to the server. The other wires are in `signaling-envelope.js`, `signaling-topic.js` and
 *   `signaling-session.js`, and take its place
 * - {@link Peer} one connection, for those who want to decide themselves whom to call
 *
 * No DOM. The types beside each file are made of what its comments say.
 *
 * @module parlor
 */
export { Mesh } from "./mesh.js";
export { Peer } from "./peer.js";
export { SignalingError } from "./signaling-error.js";
export { SocketIoSignaling } from "./signaling-socketio.js";

/** @typedef {import("./mesh.js").Member} Member */
/** @typedef {import("./signaling.js").Signaling} Signaling */
/** @typedef {import("./signaling.js").User} User */
