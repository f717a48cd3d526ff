/**
 * The wires a call can run over, and what to say of each. Whoever is in one room meets there, whichever they chose.
 *
 * @module wires
 */
import { SocketIoSignaling } from "./parlor/parlor.js";
import { EnvelopeSignaling } from "./parlor/signaling-envelope.js";
import { SessionSignaling } from "./parlor/signaling-session.js";
import { TopicSignaling } from "./parlor/signaling-topic.js";

/**
 * @typedef {object} Wire
 * @property {string} id as it stands in the page's address
 * @property {string} name
 * @property {string} line what sets it apart, in a line
 * @property {boolean} [forTwo] a one-to-one call: its links have to say so, since more than two are refused
 * @property {new (options: { userId: string, name: string, token?: string }) => import("./parlor/parlor.js").Signaling} Signaling
 */

/** @type {Wire[]} The first one is the default. */
export const WIRES = [
  { id: "socketio", name: "Socket.IO", line: "For everyday use. Gets through where WebSockets are blocked.", Signaling: SocketIoSignaling },
  { id: "topic", name: "Topic", line: "The smallest: a WebSocket per room, and the server gives the ids.", Signaling: TopicSignaling },
  { id: "envelope", name: "Envelope", line: "A WebSocket with typed messages, each of which is answered.", Signaling: EnvelopeSignaling },
  { id: "session", name: "Session", line: "A call for two by link, without names. Waits for the other one.", forTwo: true, Signaling: SessionSignaling },
];

/**
 * @param {string | null | undefined} id
 * @returns {Wire | undefined}
 */
export function wireOf(id) {
  return WIRES.find((wire) => wire.id === id);
}
