/**
 * The protocols that a call can use, with their descriptions. Peers in one room can use different protocols.
 *
 * @module protocols
 */
import { EnvelopeSignaling } from "./parlor/signaling-envelope.js";
import { SessionSignaling } from "./parlor/signaling-session.js";
import { TopicSignaling } from "./parlor/signaling-topic.js";

/**
 * @typedef {object} Protocol
 * @property {string} id the value of the URL parameter `protocol`
 * @property {string} name
 * @property {string} description
 * @property {boolean} [forTwo] for two peers: its links contain the protocol, since a third peer is refused
 * @property {boolean} [hasSfu] whether the media server is available over it
 * @property {() => Promise<new (options: object) => import("./parlor/parlor.js").Signaling>} load returns its class
 */

/** @type {Protocol[]} The first one is the default. */
export const PROTOCOLS = [
  { id: "envelope", name: "Envelope", description: "A WebSocket with typed requests and responses. Calls of any size.", hasSfu: true, load: async () => EnvelopeSignaling },
  // Its client is loaded only when it is needed.
  { id: "socketio", name: "Socket.IO", description: "Works where WebSockets are blocked. Mesh only.", load: async () => (await import("./parlor/signaling-socketio.js")).SocketIoSignaling },
  { id: "topic", name: "Topic", description: "The smallest protocol: a WebSocket for each room, ids assigned by the server. Mesh only.", load: async () => TopicSignaling },
  { id: "session", name: "Session", description: "A call for two by link, without names. Waits for the other person.", forTwo: true, load: async () => SessionSignaling },
];

/**
 * @param {string | null | undefined} id
 * @returns {Protocol | undefined}
 */
export function protocolOf(id) {
  return PROTOCOLS.find((protocol) => protocol.id === id);
}
