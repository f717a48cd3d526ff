/**
 * The protocols that a call can use, with their descriptions. Peers in one room can use different protocols.
 *
 * @module protocols
 */
import { SocketIoSignaling } from "./parlor/parlor.js";
import { EnvelopeSignaling } from "./parlor/signaling-envelope.js";
import { SessionSignaling } from "./parlor/signaling-session.js";
import { TopicSignaling } from "./parlor/signaling-topic.js";

/**
 * @typedef {object} Protocol
 * @property {string} id as in the page's address
 * @property {string} name
 * @property {string} line a one-line description
 * @property {boolean} [forTwo] for two peers: its links contain the protocol, since a third peer is refused
 * @property {new (options: { userId: string, name: string, token?: string }) => import("./parlor/parlor.js").Signaling} Signaling
 */

/** @type {Protocol[]} The first one is the default. */
export const PROTOCOLS = [
  { id: "socketio", name: "Socket.IO", line: "For everyday use. Gets through where WebSockets are blocked.", Signaling: SocketIoSignaling },
  { id: "topic", name: "Topic", line: "The smallest: a WebSocket per room; the server assigns ids.", Signaling: TopicSignaling },
  { id: "envelope", name: "Envelope", line: "A WebSocket with typed requests and responses.", Signaling: EnvelopeSignaling },
  { id: "session", name: "Session", line: "A call for two by link, without names. Waits for the other peer.", forTwo: true, Signaling: SessionSignaling },
];

/**
 * @param {string | null | undefined} id
 * @returns {Protocol | undefined}
 */
export function protocolOf(id) {
  return PROTOCOLS.find((protocol) => protocol.id === id);
}
