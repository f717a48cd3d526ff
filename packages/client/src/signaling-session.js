/**
 * The session protocol, `/signal`: a call for two over a shared link, without list, names or ids.
 *
 * Differences from the other protocols:
 *
 * - a client is not notified that it is alone. The server queues its signals for the other peer, so the client calls at once unless a call
 *   was waiting. {@link OTHER} is therefore listed in `room-users` with `expected` (call this peer, and show it once it answers) or with
 *   `calling` (its offer is the next event)
 * - a lost connection of the other peer is not announced; the peer connection detects it
 * - `hangUp` ends the call for both, and the other peer receives `ended` with the code `HUNG_UP`; `leave` keeps the session open for a
 *   later join
 *
 * @module signaling-session
 */
import { SignalingError } from "./signaling-error.js";
import { asDescription, WebSocketSignaling } from "./signaling-websocket.js";

/**
 * Time to wait for a call before calling, in milliseconds. A queued call arrives at once; a longer wait delays the call, and a shorter one
 * makes collisions more frequent, which is harmless.
 */
const LISTEN_MS = 300;

/** Time in which a refusal of a signal arrives, in milliseconds. */
const REFUSAL_TIMEOUT_MS = 1500;

/** The other peer, described as in the other protocols. `anonymous`: this protocol reports nothing about it. */
export const OTHER = Object.freeze({ id: "other", userId: "other", anonymous: true });

/** Error codes of a session that has ended: a join would start a new one. */
const OVER = ["SESSION_ENDED", "SESSION_NOT_FOUND"];

/** Every `targetId` means the other peer. */
export class SessionSignaling extends WebSocketSignaling {
  /** @type {number | undefined} */
  #listenTimer;
  #signals = 0;
  /** Sent signals without a result so far. @type {Set<string>} */
  #unconfirmed = new Set();
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;

  /** Ends the call for both peers. Safe while a page is being closed: nothing is awaited. */
  hangUp() {
    if (this.connected) this.send({ type: "hangup", sessionId: this.roomId });
    this.close();
  }

  /** Requests the ICE servers, which no message of this protocol carries. @protected @override */
  async prepare() {
    const asked = this.iceServers().then((iceServers) => (this.#iceServers = iceServers ?? this.#iceServers));
    // A rejoin does not wait for new ones.
    if (!this.#iceServers) await asked;
  }

  /** @protected @override */
  place() {
    return this.endpoint("/signal");
  }

  /** @param {string} sessionId @protected @override */
  open(sessionId) {
    this.#stopListening();
    this.send({ type: "join", sessionId });
    this.#listenTimer = setTimeout(() => this.#enter({ expected: true }), LISTEN_MS);
  }

  /** @param {{ expected?: true, calling?: true }} how */
  #enter(how) {
    this.#stopListening();
    if (this.connected) this.entered([{ ...OTHER, ...how, roomId: this.roomId ?? undefined }], undefined, this.#iceServers);
  }

  #stopListening() {
    clearTimeout(this.#listenTimer);
    this.#listenTimer = undefined;
  }

  /** @protected @override */
  disconnect() {
    this.#stopListening();
    super.disconnect();
  }

  /** @param {string} sessionId @protected @override */
  sendLeave(sessionId) {
    this.send({ type: "leave", sessionId });
  }

  /**
   * Rejects if the server reports an error at about that time: its errors do not name the signal.
   * @param {import("./signaling.js").SignalKind} kind
   * @param {string} _other
   * @param {import("./signaling.js").SignalBody} body
   * @param {object} [extra] carried within this protocol only
   * @protected
   * @override
   */
  async transmit(kind, _other, body, extra) {
    if (!this.online) throw new SignalingError("OFFLINE");
    const content = kind === "candidate" ? { candidate: body } : { sdp: body };
    this.send({ ...extra, type: kind, ...content, sessionId: this.roomId });
    const key = String(++this.#signals);
    this.#unconfirmed.add(key);
    try {
      await this.expect(key, { within: REFUSAL_TIMEOUT_MS, succeedsOnTimeout: true });
    } finally {
      this.#unconfirmed.delete(key);
    }
  }

  /** @param {any} message @protected @override */
  receive(message) {
    const { type, sessionId: _, user: __, sdp, candidate, ...rest } = message;
    const sender = { ...rest, from: OTHER.userId };
    switch (type) {
      case "offer":
        if (this.#listenTimer !== undefined) this.#enter({ calling: true });
        this.tell(type, { ...sender, user: OTHER, offer: asDescription(type, sdp) });
        break;
      case "answer":
        this.tell(type, { ...sender, answer: asDescription(type, sdp) });
        break;
      case "candidate":
        this.tell("ice-candidate", { ...sender, candidate: asCandidate(candidate) });
        break;
      case "hangup":
        this.end(new SignalingError("HUNG_UP"));
        break;
      case "error":
        this.#refused(new SignalingError(message.code ?? "INTERNAL", message.message, message.retryAfterMs));
        break;
    }
  }

  /** @param {SignalingError} error */
  #refused(error) {
    this.#stopListening();
    if (OVER.includes(error.code)) return this.end(new SignalingError("HUNG_UP"));
    for (const key of this.#unconfirmed) this.fail(key, error);
    this.trouble(error);
  }
}

/**
 * Returns a candidate as WebRTC expects it; a bare text belongs to the first media section, which carries all candidates.
 * @param {string | RTCIceCandidateInit | null} candidate
 * @returns {RTCIceCandidateInit | null}
 */
function asCandidate(candidate) {
  return typeof candidate === "string" ? { candidate, sdpMLineIndex: 0 } : candidate;
}
