/**
 * A call between all peers in a room, over Parlor. The entry point of `@parlor/client`, and of a server's `/client/parlor.js`.
 *
 * - {@link Mesh} the call: a connection to each peer, and the tracks to send
 * - {@link SocketIoSignaling} the connection to the server. For the other protocols use `signaling-envelope.js`, `signaling-topic.js` or
 *   `signaling-session.js` instead
 * - {@link Peer} one peer connection, for applications that decide themselves which peers to call
 *
 * This module does not use the DOM. The type declarations are generated from the comments.
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
