/**
 * The envelope wire, `/ws`: typed messages, and an answer to each.
 *
 * Knows nothing of the DOM and nothing of WebRTC. To use it elsewhere, copy this file and `signaling-websocket.js`.
 *
 * Guarantee: after a dropped connection the room is joined again under the same `userId`, which takes the old place back.
 *
 * @module signaling-envelope
 */
import { asDescription, SignalingError, WebSocketSignaling } from "./signaling-websocket.js";

/** Events and methods: those of `Signaling`. */
export class EnvelopeSignaling extends WebSocketSignaling {
  #userId;
  #name;

  /**
   * @param {{ url?: string, userId: string, name: string, token?: string }} options `userId` makes the place in the room one's own:
   *   whoever joins with it again, from another connection, takes that place back.
   */
  constructor({ url, userId, name, token }) {
    super({ url, token });
    this.#userId = userId;
    this.#name = name;
  }

  /** By which the others know one. */
  get userId() {
    return this.#userId;
  }

  address() {
    return this.endpoint("/ws");
  }

  async enter(roomId) {
    const user = { id: this.#userId, displayName: this.#name };
    try {
      const { participants, iceServers } = await this.#request("room:join", { roomId, user, metadata: { name: this.#name } });
      const others = participants.filter(({ userId }) => userId !== this.#userId);
      this.entered(others.map((one) => this.#user(one)), this.#userId, iceServers);
    } catch (error) {
      this.fail("entry", error);
    }
  }

  goodbye(roomId) {
    this.send(envelope("room:leave", { roomId }));
  }

  /**
   * Each resolves once the signal is in the target's queue, and rejects with a {@link SignalingError} otherwise.
   * @param {string} targetId the peer's `userId`
   * @param {RTCSessionDescriptionInit} offer
   * @param {object} [extra] more keys for the receiver, if it is on this wire too
   */
  offer(targetId, offer, extra) {
    return this.#signal("sdp:offer", targetId, { ...extra, ...offer });
  }

  /**
   * @param {string} targetId
   * @param {RTCSessionDescriptionInit} answer
   * @param {object} [extra]
   */
  answer(targetId, answer, extra) {
    return this.#signal("sdp:answer", targetId, { ...extra, ...answer });
  }

  /**
   * @param {string} targetId
   * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
   * @param {object} [extra]
   */
  candidate(targetId, candidate, extra) {
    return this.#signal("ice:candidate", targetId, {
      ...extra,
      ...(candidate ?? { candidate: null }),
      sdpMid: candidate?.sdpMid ?? null,
      sdpMLineIndex: candidate?.sdpMLineIndex ?? null,
    });
  }

  async #signal(type, targetUserId, payload) {
    if (!this.online) throw new SignalingError("OFFLINE");
    await this.#request(type, { ...payload, targetUserId, roomId: this.roomId });
  }

  /** One message, one answer. @returns {Promise<any>} the answer's payload */
  async #request(type, payload) {
    const correlationId = uuid();
    this.send({ ...envelope(type, payload), correlationId });
    return this.expect(correlationId);
  }

  receive({ type, payload = {}, correlationId }) {
    if (type === "error") {
      const { code = "INTERNAL", message, retryAfterMs } = payload;
      const error = new SignalingError(code, message, retryAfterMs);
      if (!this.fail(correlationId, error)) this.trouble(error);
      return;
    }
    if (this.settle(correlationId, payload)) return;
    const { fromUserId: from, roomId, sdp, fromUserId, targetUserId, candidate, sdpMid, sdpMLineIndex, usernameFragment, ...rest } = payload;
    switch (type) {
      case "room:participant-joined":
        this.tell("user-joined", this.#user(payload.participant));
        break;
      case "room:participant-left":
      case "room:participant-away":
      case "room:participant-back":
        this.tell(type.replace("room:participant", "user"), { ...rest, id: payload.userId, roomId });
        break;
      case "sdp:offer":
      case "sdp:answer": {
        const kind = type.slice("sdp:".length);
        this.tell(kind, { ...rest, from, userId: from, [kind]: asDescription(kind, sdp) });
        break;
      }
      case "ice:candidate":
        this.tell("ice-candidate", {
          ...rest,
          from,
          userId: from,
          candidate: candidate === null ? null : { candidate, sdpMid, sdpMLineIndex, usernameFragment },
        });
        break;
    }
  }

  #user({ userId, displayName, metadata, ...rest }) {
    // The server shows the id of someone who gave no name: that is none.
    const name = displayName === userId ? undefined : displayName;
    return { ...metadata, ...rest, name, id: userId, userId, roomId: this.roomId };
  }
}

function envelope(type, payload) {
  return { type, payload, timestamp: Date.now() };
}

/** `crypto.randomUUID` is kept from pages that did not come over https; this is not. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
