/**
 * The session wire, `/signal`: a call for two over a shared link. No list, no names, no ids: there is one other person, or nobody yet.
 *
 * Knows nothing of the DOM and nothing of WebRTC. To use it elsewhere, copy this file and `signaling-websocket.js`.
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
import { asDescription, SignalingError, WebSocketSignaling } from "./signaling-websocket.js";

/**
 * How long to listen before calling, in milliseconds. What waited for us comes at once; a longer pause only delays the call, a shorter
 * one has both call at the same time more often, which does no harm.
 */
const LISTEN_MS = 300;

/** How long a refusal of a signal may take, in milliseconds. */
const CONSENT_MS = 1500;

/** The one other person, as the other wires would describe them. `anonymous`: this wire knows nothing of them. */
export const OTHER = Object.freeze({ id: "other", userId: "other", anonymous: true });

/** Errors of a session that is no more, where joining it would begin another one. */
const OVER = /session (ended|not found)/i;

/** Events and methods: those of `Signaling`, with {@link SessionSignaling#hangUp}. Every `targetId` means the other. */
export class SessionSignaling extends WebSocketSignaling {
  #listenTimer = 0;
  #signals = 0;
  /** @type {Set<string>} those sent of which nothing was heard yet */
  #unsure = new Set();

  /** @param {{ url?: string, token?: string }} options */
  constructor({ url, token }) {
    super({ url, token });
  }

  /** None: nobody on this wire has one. */
  get userId() {
    return undefined;
  }

  address() {
    return this.endpoint("/signal");
  }

  enter(sessionId) {
    clearTimeout(this.#listenTimer);
    this.send({ type: "join", sessionId });
    this.#listenTimer = setTimeout(() => this.#enter({ expected: true }), LISTEN_MS);
  }

  #enter(how) {
    clearTimeout(this.#listenTimer);
    this.#listenTimer = 0;
    if (this.connected) this.entered([{ ...OTHER, ...how, roomId: this.roomId }]);
  }

  goodbye(sessionId) {
    this.send({ type: "leave", sessionId });
  }

  /** Ends the call for both. Safe while a page is being closed: nothing is awaited. */
  hangUp() {
    if (this.connected) this.send({ type: "hangup", sessionId: this.roomId });
    this.close();
  }

  close() {
    clearTimeout(this.#listenTimer);
    super.close();
  }

  /**
   * Each rejects with a {@link SignalingError} if the server refused a signal at about that time: its errors do not say which.
   * @param {string} _other
   * @param {RTCSessionDescriptionInit} offer
   * @param {object} [extra] more keys for the receiver, if it is on this wire too
   */
  offer(_other, offer, extra) {
    return this.#signal({ ...extra, type: "offer", sdp: offer });
  }

  /**
   * @param {string} _other
   * @param {RTCSessionDescriptionInit} answer
   * @param {object} [extra]
   */
  answer(_other, answer, extra) {
    return this.#signal({ ...extra, type: "answer", sdp: answer });
  }

  /**
   * @param {string} _other
   * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
   * @param {object} [extra]
   */
  candidate(_other, candidate, extra) {
    return this.#signal({ ...extra, type: "candidate", candidate });
  }

  async #signal(message) {
    if (!this.online) throw new SignalingError("OFFLINE");
    this.send({ ...message, sessionId: this.roomId });
    const key = String(++this.#signals);
    this.#unsure.add(key);
    try {
      await this.expect(key, { within: CONSENT_MS, silenceIsConsent: true });
    } finally {
      this.#unsure.delete(key);
    }
  }

  receive(message) {
    const { type, sessionId: _, sdp, candidate, ...rest } = message;
    switch (type) {
      case "offer":
        if (this.#listenTimer) this.#enter({ calling: true });
        this.tell(type, { ...rest, from: OTHER.userId, user: OTHER, offer: asDescription(type, sdp) });
        break;
      case "answer":
        this.tell(type, { ...rest, from: OTHER.userId, answer: asDescription(type, sdp) });
        break;
      case "candidate":
        this.tell("ice-candidate", { ...rest, from: OTHER.userId, candidate: asCandidate(candidate) });
        break;
      case "hangup":
        this.end(new SignalingError("HUNG_UP"));
        break;
      case "error":
        this.#refused(new SignalingError(message.code ?? "INTERNAL", message.message, message.retryAfterMs));
        break;
    }
  }

  #refused(error) {
    clearTimeout(this.#listenTimer);
    if (OVER.test(error.message)) return this.end(new SignalingError("HUNG_UP"));
    for (const key of this.#unsure) this.fail(key, error);
    this.trouble(error);
  }
}

/** A candidate as WebRTC takes it; a bare text belongs to the first section, in which all of them travel. */
function asCandidate(candidate) {
  return typeof candidate === "string" ? { candidate, sdpMLineIndex: 0 } : candidate;
}
