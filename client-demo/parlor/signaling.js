/**
 * What all wires have in common: being in a room, coming back to it, and signals that wait while one is away from it.
 *
 * Knows nothing of the DOM, of WebRTC, or of sockets. The wires are `signaling-socketio.js`, which is the one to begin with, and over a
 * plain WebSocket `signaling-envelope.js`, `signaling-topic.js` and `signaling-session.js`: one stands in for another.
 *
 * - {@link Signaling#join} connects and joins; from then on a dropped connection is taken up again, after a pause that grows and has
 *   some chance in it, until {@link Signaling#leave}, or an `ended` that says why not
 * - where the server has kept our place, it is as if nothing had been: `online` says `recovered`, what was missed follows, and signals
 *   that had no answer yet are sent again. Where it has not, the room is joined anew, and `room-users` comes before `online`
 *
 * @module signaling
 */
import { Emitter } from "./emitter.js";
import { isFinal, mayPass, SignalingError } from "./signaling-error.js";

/** How long a request may take before it fails with the code `TIMEOUT`, in milliseconds. */
export const ANSWER_TIMEOUT_MS = 8000;

/**
 * The pause before the first attempt to come back and the longest there is, in milliseconds, and the part of a pause that is left to
 * chance: quick first, then patient, and not everybody in the instant in which a server is up again.
 */
export const RETRY = Object.freeze({ firstMs: 500, longestMs: 4000, chance: 0.5 });

/** How long to wait for a list of ICE servers: a call can begin without, and often work. */
const ICE_SERVERS_TIMEOUT_MS = 3000;

/**
 * A member of the room as the server describes it. Of what peers say about themselves, only `name` and `media` are here: other fields of
 * their metadata are ignored, since these names are the module's own.
 * @typedef {object} User
 * @property {string} id the same as `userId`
 * @property {string} userId
 * @property {string} [roomId]
 * @property {string} [socketId]
 * @property {string} [joinedAt] ISO 8601
 * @property {string} [name]
 * @property {boolean} [anonymous] the wire tells nothing of them
 * @property {boolean} [expected] they may not be here yet: call them, and show them once they answer
 * @property {boolean} [calling] their offer is the next event
 * @property {"sfu"} [media] theirs goes through the media server: they are in no mesh
 */

/**
 * Names the two ends of a connection: `mesh.js` sends it along.
 * @typedef {{ from: string, to: string | null }} Link
 */

/**
 * What every relayed signal has; other keys are the sender's.
 * @typedef {{ from: string, user?: User, link?: Link }} Relayed `user`: the sender, where no list has named them
 */

/**
 * What a join is answered.
 * @typedef {{ roomId: string, userId?: string, users: User[], iceServers?: RTCIceServer[] }} Joined `userId`: one's own
 */

/**
 * The events of a {@link Signaling}, by name. `room-users` comes at every join and re-join; after `ended` one is out of the room, and does
 * not come back by oneself; `message` is what a wire tells besides.
 * @typedef {{
 *   "room-users": Omit<Joined, "roomId">,
 *   "user-joined": User, "user-away": User, "user-back": User,
 *   "user-left": User & { reason?: string },
 *   "offer": Relayed & { offer: RTCSessionDescriptionInit },
 *   "answer": Relayed & { answer: RTCSessionDescriptionInit },
 *   "ice-candidate": Relayed & { candidate: RTCIceCandidateInit | null },
 *   "offline": { reason: string, code: string },
 *   "online": { recovered: boolean },
 *   "ended": SignalingError,
 *   "message": { type: string, payload: any },
 * }} SignalingEvents
 */

/**
 * @typedef {object} SignalingOptions
 * @property {string} [url] where Parlor is; by default, where the page came from
 * @property {string} [token] where the server asks for one
 */

/** @typedef {"offer" | "answer" | "candidate"} SignalKind */
/** @typedef {RTCSessionDescriptionInit | RTCIceCandidateInit | null} SignalBody */

/**
 * A place in a room, over whichever wire.
 *
 * A wire says how to get in ({@link Signaling#enter}), how to send ({@link Signaling#transmit}), how to come back
 * ({@link Signaling#comeBack}), how to hang up ({@link Signaling#disconnect}), and calls {@link Signaling#arrived} and
 * {@link Signaling#dropped}.
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
  #attempts = 0;
  /** @type {number | undefined} */
  #retryTimer;
  /** Signals without an answer, in the order in which they were given. @type {{ send: () => void, fail: (error: Error) => void }[]} */
  #held = [];
  /** Ends with the time in the room. */
  #stay = new AbortController();

  /** @param {SignalingOptions} [options] */
  constructor({ url = "/", token } = {}) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** By which the others know one; undefined where nobody has one, or there is none yet. @type {string | undefined} */
  get userId() {
    return undefined;
  }

  /** Whether one is in the room, over a connection that is up, at this moment. */
  get online() {
    return false;
  }

  /** The room to be in, or null. It survives a dropped connection. */
  get roomId() {
    return this.#roomId;
  }

  /**
   * Connects and joins. Rejects with a {@link SignalingError}, and then nothing is left running.
   * @param {string} roomId
   * @returns {Promise<Joined>}
   */
  async join(roomId) {
    this.#roomId = roomId;
    this.#stay.abort();
    this.#stay = new AbortController();
    const { signal } = this.#stay;
    // Not everywhere is there a browser to say so.
    globalThis.addEventListener?.("offline", () => this.networkLost(), { signal });
    globalThis.addEventListener?.("online", () => this.networkBack(), { signal });
    try {
      return await this.enter(roomId);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Leaves the room and hangs up. Safe while a page is being closed: nothing is awaited. */
  leave() {
    if (this.#roomId !== null && this.online) this.goodbye(this.#roomId);
    this.close();
  }

  /** Hangs up. The server takes this as a goodbye. */
  close() {
    this.#stay.abort();
    clearTimeout(this.#retryTimer);
    this.#roomId = null;
    this.#joined = false;
    this.#attempts = 0;
    this.disconnect();
    this.#discard();
  }

  /**
   * Each resolves once the signal is in the target's queue, and rejects with a {@link SignalingError} otherwise. While the connection is
   * down they wait, and fail with `OFFLINE` if the place in the room is lost. One whose answer was lost is sent again, so that the target
   * may hear it twice.
   * @param {string} targetId the peer's `userId`
   * @param {RTCSessionDescriptionInit} offer
   * @param {object} [extra] more keys for the receiver, where the wire carries them
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
   * The STUN and TURN servers that the server names at this moment. The credentials of those that a join has brought are good for a time.
   * @returns {Promise<RTCIceServer[] | undefined>} undefined if they cannot be had
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
   * Brings a newer token of the same person: to the connection there is, where the wire can, and to all that follow.
   * @param {string} token
   * @returns {Promise<void>} rejects with a {@link SignalingError}; the one before stays in force then
   */
  async renew(token) {
    if (this.online) await this.authenticate(token);
    this.#token = token;
  }

  // For the wires.

  /** @protected */
  get token() {
    return this.#token;
  }

  /** Has been in the room, so that a dropped connection is one to come back from. @protected */
  get joined() {
    return this.#joined;
  }

  /**
   * An address at the server.
   * @param {string} path
   * @protected
   */
  address(path) {
    return new URL(path, new URL(this.#url, globalThis.location?.href));
  }

  /**
   * Connects, and gets into the room.
   * @param {string} _roomId
   * @returns {Promise<Joined>}
   * @abstract
   * @protected
   */
  enter(_roomId) {
    throw new Error("a wire says how");
  }

  /**
   * Sends a signal; fails with `OFFLINE` where there is no connection, or it breaks before there is an answer.
   * @param {SignalKind} _kind
   * @param {string} _targetId
   * @param {any} _body a {@link SignalBody}
   * @param {object} [_extra]
   * @returns {Promise<unknown>}
   * @abstract
   * @protected
   */
  transmit(_kind, _targetId, _body, _extra) {
    throw new Error("a wire says how");
  }

  /** One attempt to be in the room again; calls {@link Signaling#arrived} or {@link Signaling#refused}. @abstract @protected */
  comeBack() {}

  /** The browser says that there is no network. @protected */
  networkLost() {}

  /** The browser says that there is a network again: no reason to wait any longer. @protected */
  networkBack() {
    if (this.#retryTimer === undefined) return;
    this.#stopWaiting();
    this.comeBack();
  }

  /** Ends the connection. @abstract @protected */
  disconnect() {}

  /** The last thing to say before closing, where closing is not enough. @param {string} _roomId @protected */
  goodbye(_roomId) {}

  /** Shows the server a newer token, where the wire has a word for that. @param {string} _token @returns {Promise<unknown>} @protected */
  authenticate(_token) {
    return Promise.resolve();
  }

  /**
   * One is in the room: for the first time, again, or still.
   * @param {{ recovered: boolean }} how
   * @protected
   */
  arrived({ recovered }) {
    this.#stopWaiting();
    this.#attempts = 0;
    const isBack = this.#joined;
    this.#joined = true;
    if (recovered) this.#resend();
    else this.#discard();
    if (isBack) this.tell("online", { recovered });
  }

  /**
   * The connection is gone.
   * @param {string} reason
   * @param {string} code
   * @protected
   */
  dropped(reason, code) {
    if (this.#joined) this.tell("offline", { reason, code });
  }

  /**
   * An attempt to come back came to nothing: there is another one if it may, and an end if it will not.
   * @param {SignalingError} error
   * @protected
   */
  refused(error) {
    if (this.#roomId === null) return;
    if (mayPass(error)) this.retryLater(error.retryAfterMs);
    else this.end(error);
  }

  /** @param {number} [atLeast] in milliseconds @protected */
  retryLater(atLeast = 0) {
    const full = Math.min(RETRY.longestMs, RETRY.firstMs * 2 ** this.#attempts++);
    const pause = Math.max(full * (1 - RETRY.chance * Math.random()), atLeast * (1 + RETRY.chance * Math.random()));
    this.#stopWaiting();
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.comeBack();
    }, pause);
  }

  /**
   * The server told an error that answers no request.
   * @param {SignalingError} error
   * @returns {boolean} whether that was the end
   * @protected
   */
  endIfFinal(error) {
    const isTheEnd = isFinal(error);
    if (isTheEnd) this.end(error);
    return isTheEnd;
  }

  /** Out of the room, and not coming back. @param {SignalingError} error @protected */
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
            if (error.code === "OFFLINE" && this.#joined) this.#held.push({ send, fail });
            else fail(error);
          },
        );
      };
      send();
    });
  }

  #resend() {
    for (const { send } of this.#held.splice(0)) send();
  }

  #discard() {
    for (const { fail } of this.#held.splice(0)) fail(new SignalingError("OFFLINE"));
  }

  #stopWaiting() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }
}

/**
 * A user by what the server says of it, and by the known fields of what the peer says about itself.
 * @param {{ userId: string, socketId?: string, roomId?: string | null, joinedAt?: string }} peer
 * @param {any} [metadata] whatever the peer has written there
 * @returns {User}
 */
export function asUser({ userId, socketId, roomId, joinedAt }, metadata) {
  return {
    id: userId,
    userId,
    ...(roomId && { roomId }),
    ...(socketId && { socketId }),
    ...(joinedAt && { joinedAt }),
    ...(typeof metadata?.name === "string" && { name: metadata.name }),
    ...(metadata?.media === "sfu" && { media: /** @type {const} */ ("sfu") }),
  };
}
