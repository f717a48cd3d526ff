/**
 * The topic wire, `/ws/{topic}`: connecting joins, closing leaves, and the server gives the ids.
 *
 * Knows nothing of the DOM and nothing of WebRTC. To use it elsewhere, copy this file and `signaling-websocket.js`.
 *
 * What is different from the others:
 *
 * - one's `userId` is the server's choice, and another one after each reconnect: to the others, somebody left and somebody came
 * - success is silent, so a signal counts as delivered when nothing was heard of it for {@link CONSENT_MS}
 * - `user-left` has no `reason`, and `extra` keys of a signal do not travel
 *
 * @module signaling-topic
 */
import { asDescription, SignalingError, WebSocketSignaling } from "./signaling-websocket.js";

/** How long a refusal of a signal may take, in milliseconds. The server itself gives up on a full queue after 100. */
const CONSENT_MS = 1500;

/** This wire has codes of its own. */
const CODES = { target_not_found: "TARGET_NOT_FOUND", dropped: "DELIVERY_FAILED", missing_target: "INVALID_MESSAGE", invalid_type: "INVALID_MESSAGE" };

/** Events and methods: those of `Signaling`. */
export class TopicSignaling extends WebSocketSignaling {
  #name;
  /** @type {string | undefined} */
  #selfId;
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;
  /** One's own ids of before; the server may go on listing one for a while, when it has not noticed the loss yet. */
  #formerIds = new Set();
  #messages = 0;

  /** @param {{ url?: string, name: string, token?: string }} options */
  constructor({ url, name, token }) {
    super({ url, token });
    this.#name = name;
  }

  /** By which the others know one; undefined until one has joined. */
  get userId() {
    return this.#selfId;
  }

  address(roomId) {
    return this.endpoint(`/ws/${encodeURIComponent(roomId)}`, { metadata: JSON.stringify({ name: this.#name }) });
  }

  /**
   * Each rejects with a {@link SignalingError} if the signal could not be delivered.
   * @param {string} targetId
   * @param {RTCSessionDescriptionInit} offer
   */
  offer(targetId, offer) {
    return this.#signal("offer", targetId, offer);
  }

  /**
   * @param {string} targetId
   * @param {RTCSessionDescriptionInit} answer
   */
  answer(targetId, answer) {
    return this.#signal("answer", targetId, answer);
  }

  /**
   * @param {string} targetId
   * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
   */
  candidate(targetId, candidate) {
    return this.#signal("ice-candidate", targetId, candidate);
  }

  async #signal(type, to, payload) {
    if (!this.online) throw new SignalingError("OFFLINE");
    const msgId = String(++this.#messages);
    this.send({ type, to, payload, msgId });
    await this.expect(msgId, { within: CONSENT_MS, silenceIsConsent: true });
  }

  receive(message) {
    const { type, from, payload } = message;
    switch (type) {
      case "welcome":
        if (this.#selfId) this.#formerIds.add(this.#selfId);
        this.#selfId = message.selfId;
        this.#iceServers = message.iceServers;
        break;
      case "peer-list":
        this.entered(message.peers.filter(({ id }) => !this.#formerIds.has(id)).map((peer) => this.#user(peer)), this.#selfId, this.#iceServers);
        break;
      case "peer-joined":
      case "peer-left":
        if (this.#formerIds.has(message.peerId)) break;
        this.tell(type.replace("peer", "user"), this.#user({ id: message.peerId, metadata: message.metadata }));
        break;
      case "offer":
      case "answer":
        this.tell(type, { from, userId: from, [type]: asDescription(type, payload) });
        break;
      case "ice-candidate":
        this.tell(type, { from, userId: from, candidate: payload });
        break;
      case "error": {
        const error = new SignalingError(CODES[message.code] ?? message.code ?? "INTERNAL", message.message, message.retryAfterMs);
        if (!this.fail(message.msgId, error)) this.trouble(error);
        break;
      }
    }
  }

  #user({ id, metadata }) {
    return { ...metadata, id, userId: id, roomId: this.roomId };
  }
}
