/**
 * The topic protocol, `/ws/{topic}`: connecting joins, closing leaves, and the server assigns the ids.
 *
 * Differences from the other protocols:
 *
 * - the server assigns the `userId`, and another one after each reconnection: the other peers see a leave and a join
 * - success is silent, so a signal counts as delivered if no error arrives within {@link REFUSAL_TIMEOUT_MS}
 * - `user-left` has no `reason`, and `extra` keys of a signal are not carried
 *
 * @module signaling-topic
 */
import { asUser } from "./signaling-user.js";
import { SignalingError } from "./signaling-error.js";
import { asDescription, WebSocketSignaling } from "./signaling-websocket.js";

/** @typedef {import("./signaling.js").SignalingOptions & { name: string }} TopicOptions */

/** Time in which a refusal of a signal arrives, in milliseconds. The server gives up on a full send queue after 100. */
const REFUSAL_TIMEOUT_MS = 1500;

/**
 * The error codes of this protocol, and the general ones.
 * @type {Record<string, string>}
 */
const CODES = { target_not_found: "TARGET_NOT_FOUND", dropped: "DELIVERY_FAILED", missing_target: "INVALID_MESSAGE", invalid_type: "INVALID_MESSAGE" };

/** The message types of signals. */
const TYPES = { offer: "offer", answer: "answer", candidate: "ice-candidate" };

export class TopicSignaling extends WebSocketSignaling {
  #name;
  /** @type {string | undefined} */
  #selfId;
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;
  /** Former ids of this client; the server may list one until it detects the lost connection. @type {Set<string>} */
  #formerIds = new Set();
  #messages = 0;

  /** @param {TopicOptions} options */
  constructor({ url, name, token }) {
    super({ url, token });
    this.#name = name;
  }

  /** @override */
  get userId() {
    return this.#selfId;
  }

  /** @param {string} roomId @protected @override */
  place(roomId) {
    return this.endpoint(`/ws/${encodeURIComponent(roomId)}`, { metadata: JSON.stringify({ name: this.#name }) });
  }

  /**
   * @param {import("./signaling.js").SignalKind} kind
   * @param {string} to
   * @param {import("./signaling.js").SignalBody} payload
   * @protected
   * @override
   */
  transmit(kind, to, payload) {
    return this.#post({ type: TYPES[kind], to, payload });
  }

  /** @param {string} _topic in the data @param {object} payload @param {string} [to] @protected @override */
  transmitMessage(_topic, payload, to) {
    return this.#post({ type: "message", payload, ...(to && { to }) });
  }

  /** @param {object} message */
  async #post(message) {
    if (!this.online) throw new SignalingError("OFFLINE");
    const msgId = String(++this.#messages);
    this.send({ ...message, msgId });
    await this.expect(msgId, { within: REFUSAL_TIMEOUT_MS, succeedsOnTimeout: true });
  }

  /** @param {any} message @protected @override */
  receive(message) {
    const { type, from, payload } = message;
    const sender = { from, userId: from };
    switch (type) {
      case "welcome":
        if (this.#selfId) this.#formerIds.add(this.#selfId);
        this.#selfId = message.selfId;
        this.#iceServers = message.iceServers;
        break;
      case "peer-list":
        this.#enterWith(message.peers);
        break;
      case "peer-joined":
        if (!this.#formerIds.has(message.peerId)) this.tell("user-joined", this.#user(message.peerId, message.metadata));
        break;
      case "peer-left":
        if (!this.#formerIds.has(message.peerId)) this.tell("user-left", this.#user(message.peerId));
        break;
      case "offer":
        this.tell(type, { ...sender, offer: asDescription(type, payload) });
        break;
      case "answer":
        this.tell(type, { ...sender, answer: asDescription(type, payload) });
        break;
      case "ice-candidate":
        this.tell(type, { ...sender, candidate: payload });
        break;
      case "message":
        this.tell("application", { from, topic: typeof payload?.topic === "string" ? payload.topic : type, data: payload });
        break;
      case "error": {
        const error = new SignalingError(CODES[message.code] ?? message.code ?? "INTERNAL", message.message, message.retryAfterMs);
        if (!this.fail(message.msgId, error)) this.trouble(error);
        break;
      }
    }
  }

  /** @param {{ id: string, metadata?: object }[]} peers */
  #enterWith(peers) {
    const others = peers.filter(({ id }) => !this.#formerIds.has(id));
    this.entered(others.map(({ id, metadata }) => this.#user(id, metadata)), this.#selfId, this.#iceServers);
  }

  /** @param {string} id @param {object} [metadata] @returns {import("./signaling.js").User} */
  #user(id, metadata) {
    return asUser({ userId: id, roomId: this.roomId }, metadata);
  }
}
