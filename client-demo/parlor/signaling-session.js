/**
 * The session wire, `/signal`: a call for two over a shared link. No list, no names, no ids: there is one other person, or nobody yet.
 *
 * What is different from the others:
 *
 * - whoever is alone is not told so. What one sends waits at the server for the other, so one calls at once, unless a call was
 *   waiting. {@link OTHER} is therefore listed in `room-users` with `expected` (call them, and show them once they answer) or with
 *   `calling` (their offer is the next event)
 * - nobody is told that the other's connection dropped; it is for the connection between the two to notice
 * - `hangUp` ends the call for both, and the other one gets `ended` with the code `HUNG_UP`; `leave` keeps it open for coming back
 *
 * @module signaling-session
 */
import { SignalingError } from "./signaling-error.js";
import { asDescription, WebSocketSignaling } from "./signaling-websocket.js";

/**
 * How long to listen before calling, in milliseconds. What waited for us comes at once; a longer pause only delays the call, a shorter
 * one has both call at the same time more often, which does no harm.
 */
const LISTEN_MS = 300;

/** How long a refusal of a signal may take, in milliseconds. */
const CONSENT_MS = 1500;

/** The one other person, as the other wires would describe them. `anonymous`: this wire knows nothing of them. */
export const OTHER = Object.freeze({ id: "other", userId: "other", anonymous: true });

/** Error codes of a session that has ended: joining it would start another one. */
const OVER = ["SESSION_ENDED", "SESSION_NOT_FOUND"];

/** Every `targetId` means the other. */
export class SessionSignaling extends WebSocketSignaling {
  /** @type {number | undefined} */
  #listenTimer;
  #signals = 0;
  /** Those sent of which nothing was heard yet. @type {Set<string>} */
  #unsure = new Set();
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;

  /** Ends the call for both. Safe while a page is being closed: nothing is awaited. */
  hangUp() {
    if (this.connected) this.send({ type: "hangup", sessionId: this.roomId });
    this.close();
  }

  /** No answer of this wire has room for the ICE servers, so they are asked for. @protected @override */
  async prepare() {
    const asked = this.iceServers().then((iceServers) => (this.#iceServers = iceServers ?? this.#iceServers));
    // Coming back need not wait for newer ones.
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
  goodbye(sessionId) {
    this.send({ type: "leave", sessionId });
  }

  /**
   * Rejects if the server refused a signal at about that time: its errors do not say which.
   * @param {import("./signaling.js").SignalKind} kind
   * @param {string} _other
   * @param {import("./signaling.js").SignalBody} body
   * @param {object} [extra] travels within this wire alone
   * @protected
   * @override
   */
  async transmit(kind, _other, body, extra) {
    if (!this.online) throw new SignalingError("OFFLINE");
    const said = kind === "candidate" ? { candidate: body } : { sdp: body };
    this.send({ ...extra, type: kind, ...said, sessionId: this.roomId });
    const key = String(++this.#signals);
    this.#unsure.add(key);
    try {
      await this.expect(key, { within: CONSENT_MS, silenceIsConsent: true });
    } finally {
      this.#unsure.delete(key);
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
    for (const key of this.#unsure) this.fail(key, error);
    this.trouble(error);
  }
}

/**
 * A candidate as WebRTC takes it; a bare text belongs to the first section, in which all of them travel.
 * @param {string | RTCIceCandidateInit | null} candidate
 * @returns {RTCIceCandidateInit | null}
 */
function asCandidate(candidate) {
  return typeof candidate === "string" ? { candidate, sdpMLineIndex: 0 } : candidate;
}
