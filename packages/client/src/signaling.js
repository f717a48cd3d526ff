/**
 * The common part of all protocols: joining a room, reconnecting to it, and signals that wait for the reconnection.
 *
 * Uses neither the DOM, WebRTC nor sockets. The protocols are `signaling-socketio.js`, the default, and over a plain WebSocket
 * `signaling-envelope.js`, `signaling-topic.js` and `signaling-session.js`; they are interchangeable.
 *
 * - {@link Signaling#join} connects and joins; a lost connection is then reestablished, with exponential backoff and jitter, until {@link
 *   Signaling#leave}, or an `ended` with the reason
 * - if the server has kept the session, it is resumed: `online` has `recovered` set, missed messages follow, and signals without a response
 *   are sent again. Otherwise the room is joined again, and `room-users` precedes `online`
 * @module signaling
 */
import { Emitter } from "./emitter.js";
import { Retry } from "./retry.js";
import { isFinal, mayPass, SignalingError } from "./signaling-error.js";

export { RETRY } from "./retry.js";
export { asUser } from "./signaling-user.js";

/** Timeout of a request in milliseconds, after which it fails with `TIMEOUT`. */
export const ANSWER_TIMEOUT_MS = 8000;

/** Timeout of a request for ICE servers, in milliseconds: a call can begin, and often succeed, without them. */
const ICE_SERVERS_TIMEOUT_MS = 3000;

/**
 * A member of the room as the server describes it. Of its metadata only `name`, `media` and `mode` are included, so that other fields
 * cannot collide with those of this module.
 * @typedef {object} User
 * @property {string} id the same as `userId`
 * @property {string} userId
 * @property {string} [roomId]
 * @property {string} [socketId]
 * @property {string} [joinedAt] ISO 8601
 * @property {string} [name]
 * @property {boolean} [anonymous] the protocol reports nothing about this peer
 * @property {boolean} [expected] may not be present yet: call this peer, and show it once it answers
 * @property {boolean} [calling] its offer is the next event
 * @property {"sfu" | "auto"} [media] the peer uses only the media server, or what the room agrees on; by default, only the mesh
 * @property {import("./auto.js").RoomMode} [mode] the mode that this peer has announced for the room
 * @property {boolean} [asked] whether a member has chosen that mode
 */

/**
 * Identifies the two ends of a peer connection; sent by `mesh.js`.
 * @typedef {{ from: string, to: string | null }} Link
 */

/**
 * The common part of relayed signals; other keys are the sender's.
 * @typedef {{ from: string, user?: User, link?: Link }} Relayed `user`: the sender, if no list has described it
 */

/**
 * The result of a join.
 * @typedef {{ roomId: string, userId?: string, users: User[], iceServers?: RTCIceServer[] }} Joined `userId`: the client's own
 */

/**
 * The events of a {@link Signaling}, by name. `room-users` follows every join and rejoin; after `ended` the client is not in the room and
 * does not reconnect; `application` is a {@link Signaling#message} of another peer; `message` is any other message of the protocol.
 * @typedef {{
 *   "room-users": Omit<Joined, "roomId">,
 *   "user-joined": User, "user-away": User, "user-back": User, "user-updated": User,
 *   "user-left": User & { reason?: string },
 *   "offer": Relayed & { offer: RTCSessionDescriptionInit },
 *   "answer": Relayed & { answer: RTCSessionDescriptionInit },
 *   "ice-candidate": Relayed & { candidate: RTCIceCandidateInit | null },
 *   "offline": { reason: string, code: string },
 *   "online": { recovered: boolean },
 *   "ended": SignalingError,
 *   "application": { from: string, topic: string, data: any },
 *   "message": { type: string, payload: any },
 * }} SignalingEvents
 */

/**
 * @typedef {object} SignalingOptions
 * @property {string} [url] the server; by default, the server of the page
 * @property {string} [token] the access token, if the server requires one
 */

/** @typedef {"offer" | "answer" | "candidate"} SignalKind */
/** @typedef {RTCSessionDescriptionInit | RTCIceCandidateInit | null} SignalBody */

/**
 * The membership in a room, over any protocol.
 *
 * A protocol implements how to join ({@link Signaling#enter}), send ({@link Signaling#transmit}), reconnect ({@link Signaling#reconnect})
 * and disconnect ({@link Signaling#disconnect}), and calls {@link Signaling#arrived} and {@link Signaling#dropped}.
 * @extends {Emitter<SignalingEvents>}
 * @abstract
 */
export class Signaling extends Emitter {
  #url;
  /** @type {string | undefined} */
  #token;
  /** @type {string | null} */
  #roomId = null;
  #joined = false;
  #retry = new Retry(() => this.reconnect());
  /** Signals without a response, in the order of sending. @type {{ send: () => void, fail: (error: Error) => void }[]} */
  #pending = [];
  /** Aborted when the client leaves the room. */
  #membership = new AbortController();

  /** @param {SignalingOptions} [options] */
  constructor({ url = "/", token } = {}) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** The id by which other peers know this client; undefined if there is none (yet). @type {string | undefined} */
  get userId() {
    return undefined;
  }

  /** Whether the client is in the room, over an open connection. */
  get online() {
    return false;
  }

  /** The joined room, or null. Kept while the connection is lost. */
  get roomId() {
    return this.#roomId;
  }

  /**
   * Connects and joins. Rejects with a {@link SignalingError}, after which no connection or timer remains.
   * @param {string} roomId
   * @returns {Promise<Joined>}
   */
  async join(roomId) {
    this.#roomId = roomId;
    this.#membership.abort();
    this.#membership = new AbortController();
    const { signal } = this.#membership;
    // These events exist in browsers only.
    globalThis.addEventListener?.("offline", () => this.networkLost(), { signal });
    globalThis.addEventListener?.("online", () => this.networkBack(), { signal });
    try {
      return await this.enter(roomId);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Leaves the room and disconnects. Safe while a page is being closed: nothing is awaited. */
  leave() {
    if (this.#roomId !== null && this.online) this.sendLeave(this.#roomId);
    this.close();
  }

  /** Disconnects: a leave for the server. */
  close() {
    this.#membership.abort();
    this.#retry.reset();
    this.#roomId = null;
    this.#joined = false;
    this.disconnect();
    this.#discard();
  }

  /**
   * Sends a signal. Resolves once it is in the target's send queue, and rejects with a {@link SignalingError} otherwise. While the
   * connection is lost, signals wait, and fail with `OFFLINE` if the session cannot be resumed. A signal whose response was lost is sent
   * again, so that the target may receive it twice.
   * @param {string} targetId the peer's `userId`
   * @param {RTCSessionDescriptionInit} offer
   * @param {object} [extra] additional keys for the receiver, if the protocol carries them
   * @returns {Promise<void>}
   */
  offer(targetId, offer, extra) {
    return this.#post("offer", targetId, offer, extra);
  }

  /**
   * @param {string} targetId
   * @param {RTCSessionDescriptionInit} answer
   * @param {object} [extra]
   * @returns {Promise<void>}
   */
  answer(targetId, answer, extra) {
    return this.#post("answer", targetId, answer, extra);
  }

  /**
   * @param {string} targetId
   * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
   * @param {object} [extra]
   * @returns {Promise<void>}
   */
  candidate(targetId, candidate, extra) {
    return this.#post("candidate", targetId, candidate, extra);
  }

  /**
   * Sends an application message, such as a line of chat, to all others in the room or to one of them. Rejects with `UNSUPPORTED` if the
   * protocol carries no such messages.
   * @param {string} topic its name; Socket.IO clients receive an event of that name
   * @param {object} data
   * @param {string} [targetId]
   * @returns {Promise<void>}
   */
  async message(topic, data, targetId) {
    // Not all protocols have a separate field for the name.
    await this.transmitMessage(topic, { ...data, topic }, targetId);
  }

  /**
   * Requests the server's STUN and TURN servers, since the credentials of those received at the join expire.
   * @returns {Promise<RTCIceServer[] | undefined>} undefined if the request failed
   */
  async iceServers() {
    try {
      const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : undefined;
      const response = await fetch(this.address("/api/ice-servers"), { headers, signal: AbortSignal.timeout(ICE_SERVERS_TIMEOUT_MS) });
      return response.ok ? (await response.json()).iceServers : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * Replaces the token by a newer one of the same subject, for the current connection, if the protocol supports that, and for all later
   * ones.
   * @param {string} token
   * @returns {Promise<void>} rejects with a {@link SignalingError}; the former token then stays in use
   */
  async renew(token) {
    if (this.online) await this.authenticate(token);
    this.#token = token;
  }

  // For protocols.

  /** @protected */
  get token() {
    return this.#token;
  }

  /** Whether the client has joined the room, so that a lost connection is reestablished. @protected */
  get joined() {
    return this.#joined;
  }

  /**
   * Returns an address of the server.
   * @param {string} path
   * @protected
   */
  address(path) {
    return new URL(path, new URL(this.#url, globalThis.location?.href));
  }

  /**
   * Connects and joins the room.
   * @param {string} _roomId
   * @returns {Promise<Joined>}
   * @abstract
   * @protected
   */
  enter(_roomId) {
    throw new Error("not implemented by this protocol");
  }

  /**
   * Sends a signal; fails with `OFFLINE` if there is no connection, or if it is lost before the response.
   * @param {SignalKind} _kind
   * @param {string} _targetId
   * @param {any} _body a {@link SignalBody}
   * @param {object} [_extra]
   * @returns {Promise<unknown>}
   * @abstract
   * @protected
   */
  transmit(_kind, _targetId, _body, _extra) {
    throw new Error("not implemented by this protocol");
  }

  /** @param {string} _topic @param {object} _data @param {string} [_targetId] @returns {Promise<unknown>} @protected */
  async transmitMessage(_topic, _data, _targetId) {
    throw new SignalingError("UNSUPPORTED");
  }

  /** Makes one attempt to rejoin; calls {@link Signaling#arrived} or {@link Signaling#refused}. @abstract @protected */
  reconnect() {}

  /** The browser reports that there is no network. @protected */
  networkLost() {}

  /** The browser reports that the network is back: reconnects at once. @protected */
  networkBack() {
    if (!this.#retry.isWaiting) return;
    this.#retry.cancel();
    this.reconnect();
  }

  /** Closes the connection. @abstract @protected */
  disconnect() {}

  /** Sends the last message before closing, if closing alone is not a leave. @param {string} _roomId @protected */
  sendLeave(_roomId) {}

  /** Sends a newer token, if the protocol supports that. @param {string} _token @returns {Promise<unknown>} @protected */
  authenticate(_token) {
    return Promise.resolve();
  }

  /**
   * The client is in the room: for the first time, again, or still.
   * @param {{ recovered: boolean }} how
   * @protected
   */
  arrived({ recovered }) {
    this.#retry.reset();
    const isBack = this.#joined;
    this.#joined = true;
    if (recovered) this.#resend();
    else this.#discard();
    if (isBack) this.tell("online", { recovered });
  }

  /**
   * The connection is lost.
   * @param {string} reason
   * @param {string} code
   * @protected
   */
  dropped(reason, code) {
    if (this.#joined) this.tell("offline", { reason, code });
  }

  /**
   * An attempt to rejoin has failed: tries again, or ends if that cannot succeed.
   * @param {SignalingError} error
   * @protected
   */
  refused(error) {
    if (this.#roomId === null) return;
    if (mayPass(error)) this.retryLater(error.retryAfterMs);
    else this.end(error);
  }

  /** Schedules an attempt to rejoin. @param {number} [atLeast] the minimum delay in milliseconds @protected */
  retryLater(atLeast = 0) {
    this.#retry.schedule(atLeast);
  }

  /**
   * Handles an error that answers no request.
   * @param {SignalingError} error
   * @returns {boolean} whether it ended the membership
   * @protected
   */
  endIfFinal(error) {
    const isTheEnd = isFinal(error);
    if (isTheEnd) this.end(error);
    return isTheEnd;
  }

  /** The client is out of the room, and does not rejoin. @param {SignalingError} error @protected */
  end(error) {
    if (this.#roomId === null) return;
    this.close();
    this.tell("ended", error);
  }

  /**
   * @param {SignalKind} kind
   * @param {string} targetId
   * @param {SignalBody} body
   * @param {object} [extra]
   * @returns {Promise<void>}
   */
  #post(kind, targetId, body, extra) {
    return new Promise((resolve, fail) => {
      const send = () => {
        this.transmit(kind, targetId, body, extra).then(
          () => resolve(),
          (error) => {
            if (error.code === "OFFLINE" && this.#joined) this.#pending.push({ send, fail });
            else fail(error);
          },
        );
      };
      send();
    });
  }

  #resend() {
    for (const { send } of this.#pending.splice(0)) send();
  }

  #discard() {
    for (const { fail } of this.#pending.splice(0)) fail(new SignalingError("OFFLINE"));
  }
}
