/**
 * The wire between this page and Parlor: one Socket.IO connection, one room.
 *
 * Knows nothing of the DOM and nothing of WebRTC: descriptions and candidates pass through as they are. To use it elsewhere, copy
 * this file and point the import at your own copy of socket.io-client. `signaling-topic.js`, `signaling-envelope.js` and
 * `signaling-session.js` do the same over a plain WebSocket, with the same methods and events.
 *
 * Guarantee: after a dropped connection the room is joined again, under the same `userId`, before `online` is told.
 *
 * @module signaling
 */
import { io } from "/socket.io/socket.io.esm.min.js";

/**
 * A member of the room as the server describes it. Other keys of the member's `join-room` object come along as they were sent.
 * @typedef {{ id: string, userId: string, socketId: string, roomId: string, joinedAt: string, name?: string }} User
 */

/**
 * What the server answers to `join-room`.
 * @typedef {{ ok: true, roomId: string, userId: string, socketId: string, users: User[], iceServers?: RTCIceServer[] }} JoinAck
 */

/** How long a request may take before it fails with the code `TIMEOUT`, in milliseconds. */
const ACK_TIMEOUT_MS = 8000;

/** Refusals of a re-join that may well pass by themselves; anything else ends the call. */
const PASSING = new Set(["TIMEOUT", "OFFLINE", "RATE_LIMITED", "LIMIT_REACHED", "INTERNAL"]);

/** Errors after which coming back would be wrong or useless, however the connection ended. */
const FINAL = new Set(["REPLACED", "ROOM_CLOSED", "UNAUTHORIZED", "FORBIDDEN"]);

/** A request that was refused. `code` is one of the contract's codes, or `TIMEOUT`, `OFFLINE`, `UNREACHABLE` made here. */
export class SignalingError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {number} [retryAfterMs]
   */
  constructor(code, message, retryAfterMs) {
    super(message || code);
    this.name = "SignalingError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Events, each a `CustomEvent` whose `detail` is
 *
 * | event | detail |
 * |---|---|
 * | `room-users` | `{ users, iceServers }`, at every join and re-join |
 * | `user-joined`, `user-away`, `user-back` | a {@link User} |
 * | `user-left` | a {@link User} with `reason` |
 * | `offer`, `answer`, `ice-candidate` | the sender's object; `from` names the sender |
 * | `offline` / `online` | `{ reason }` / `{ recovered }` |
 * | `ended` | a {@link SignalingError}: out of the room, and not coming back by itself |
 */
export class Signaling extends EventTarget {
  #socket;
  #userId;
  #name;
  /** @type {string | null} The room to be in; survives a dropped connection. */
  #roomId = null;
  #retryTimer = 0;

  /**
   * @param {{ url?: string, userId: string, name: string, token?: string }} options `userId` makes the place in the room one's own:
   *   whoever joins with it again, from another connection, takes that place back.
   */
  constructor({ url = "/", userId, name, token }) {
    super();
    this.#userId = userId;
    this.#name = name;
    this.#socket = io(url, {
      autoConnect: false,
      // A connection per Signaling: a shared one would carry the handlers of an earlier call.
      forceNew: true,
      // A WebSocket at once, and polling where there is none to be had: a goodbye over a WebSocket arrives even from a closing tab.
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      // Quick first, then patient: a restarted server should not meet everybody in the same instant.
      reconnectionDelay: 500,
      reconnectionDelayMax: 4000,
      auth: token ? { token } : undefined,
    });
    this.#listen();
  }

  /** By which the others know one. */
  get userId() {
    return this.#userId;
  }

  /** Whether the connection is up at this moment. */
  get online() {
    return this.#socket.connected;
  }

  /**
   * Connects and joins. Rejects with a {@link SignalingError}, and then nothing is left running.
   * @param {string} roomId
   * @returns {Promise<JoinAck>}
   */
  async join(roomId) {
    try {
      await this.#connect();
      // Before the answer: `room-users` comes first, and the first offers are made on hearing it.
      this.#roomId = roomId;
      return await this.#request("join-room", { roomId, userId: this.#userId, name: this.#name });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Leaves the room and hangs up. Safe while a page is being closed: nothing is awaited. */
  leave() {
    if (this.#roomId && this.online) this.#socket.emit("leave-room", { roomId: this.#roomId });
    this.close();
  }

  /** Hangs up. The server takes this as a goodbye. */
  close() {
    clearTimeout(this.#retryTimer);
    this.#roomId = null;
    this.#socket.disconnect();
  }

  /**
   * Each resolves once the signal is in the target's queue, and rejects with a {@link SignalingError} otherwise.
   * @param {string} targetId the peer's `userId`
   * @param {RTCSessionDescriptionInit} offer
   * @param {object} [extra] more keys for the receiver; the server passes them on
   */
  offer(targetId, offer, extra) {
    return this.#signal("offer", { ...extra, targetId, offer });
  }

  /**
   * @param {string} targetId
   * @param {RTCSessionDescriptionInit} answer
   * @param {object} [extra]
   */
  answer(targetId, answer, extra) {
    return this.#signal("answer", { ...extra, targetId, answer });
  }

  /**
   * @param {string} targetId
   * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
   * @param {object} [extra]
   */
  candidate(targetId, candidate, extra) {
    return this.#signal("ice-candidate", { ...extra, targetId, candidate });
  }

  #signal(event, body) {
    return this.#request(event, { ...body, roomId: this.#roomId });
  }

  /** One event, one acknowledgement. */
  async #request(event, body) {
    // Socket.IO would keep it for the next connection, where it would arrive before the re-join, as a stranger's.
    if (!this.online) throw new SignalingError("OFFLINE");
    let ack;
    try {
      ack = await this.#socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, body);
    } catch {
      throw new SignalingError(this.online ? "TIMEOUT" : "OFFLINE");
    }
    if (ack?.ok || ack?.success) return ack;
    throw new SignalingError(ack?.code ?? "INTERNAL", ack?.error, ack?.retryAfterMs);
  }

  /** The first connection. Later ones are Socket.IO's own affair. */
  #connect() {
    if (this.online) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error) => {
        this.#socket.off("connect", settle);
        this.#socket.off("connect_error", settle);
        if (error) reject(refusal(error));
        else resolve();
      };
      this.#socket.on("connect", settle);
      this.#socket.on("connect_error", settle);
      this.#socket.connect();
    });
  }

  #listen() {
    const socket = this.#socket;
    const tell = (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail }));
    let lastCode = "";

    socket.on("room-users", (users, own) => tell("room-users", { users, iceServers: own?.iceServers }));
    for (const event of ["user-joined", "user-left", "user-away", "user-back", "offer", "answer", "ice-candidate"]) {
      socket.on(event, (detail) => tell(event, detail));
    }

    socket.on("error", (error) => {
      lastCode = error?.code ?? "INTERNAL";
      if (FINAL.has(lastCode)) this.#end(new SignalingError(lastCode, error.message));
    });

    socket.on("connect", () => {
      lastCode = "";
      if (this.#roomId) this.#rejoin();
    });

    socket.on("connect_error", (error) => {
      // `active` says that Socket.IO goes on trying; a refusal by the server (a bad token) is not tried again.
      if (this.#roomId && !socket.active) this.#end(refusal(error));
    });

    socket.on("disconnect", (reason) => {
      if (!this.#roomId) return;
      tell("offline", { reason, code: lastCode });
      // The one reason after which Socket.IO stays away: the server ended it. It is back soon, or another one is.
      if (reason === "io server disconnect") this.#retryTimer = setTimeout(() => socket.connect(), 1000);
    });
  }

  /** Takes the place in the room again. Joining where one still is (after a recovery) only brings a fresh list. */
  async #rejoin() {
    const roomId = this.#roomId;
    try {
      await this.#request("join-room", { roomId, userId: this.#userId, name: this.#name });
      this.dispatchEvent(new CustomEvent("online", { detail: { recovered: this.#socket.recovered } }));
    } catch (error) {
      if (!PASSING.has(error.code)) this.#end(error);
      else if (this.online) {
        this.#retryTimer = setTimeout(() => this.#roomId && this.online && this.#rejoin(), error.retryAfterMs ?? 1000);
      }
    }
  }

  #end(error) {
    if (!this.#roomId) return;
    this.close();
    this.dispatchEvent(new CustomEvent("ended", { detail: error }));
  }
}

/** A refused connection as a {@link SignalingError}: the server begins its message with the code, a dead network has none. */
function refusal(error) {
  const code = /^[A-Z]+(?:_[A-Z]+)+|^UNAUTHORIZED|^FORBIDDEN/.exec(error.message)?.[0];
  return new SignalingError(code ?? "UNREACHABLE", error.message);
}
