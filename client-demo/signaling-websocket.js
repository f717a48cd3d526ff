/**
 * What the wires over a plain WebSocket have in common: one connection, JSON both ways, one room, and coming back to it.
 *
 * Knows nothing of the DOM and nothing of WebRTC, and imports nothing. To use one of the wires elsewhere, copy this file and the one
 * wire: `signaling-topic.js`, `signaling-envelope.js` or `signaling-session.js`. They have the methods and the events of
 * `signaling.js`, so that one stands in for the other.
 *
 * Guarantee: after a dropped connection the room is joined again before `online` is told, and nothing is sent in between.
 *
 * @module signaling-websocket
 */

/** How long a request may take before it fails with the code `TIMEOUT`, in milliseconds. */
export const ANSWER_TIMEOUT_MS = 8000;

/** The pause before the first attempt to come back, and the longest there is, in milliseconds: quick first, then patient. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 4000;

/** How long one's own lost connection may go on holding the last free place in the room, in milliseconds. */
const GHOST_MS = 60_000;

/** Refusals of a re-join that may well pass by themselves; anything else ends the call. */
const PASSING = new Set(["TIMEOUT", "OFFLINE", "UNREACHABLE", "RATE_LIMITED", "LIMIT_REACHED", "SHUTTING_DOWN", "INTERNAL"]);

/** Errors after which coming back would be wrong or useless, however the connection ended. */
const FINAL = new Set(["REPLACED", "ROOM_CLOSED", "UNAUTHORIZED", "FORBIDDEN"]);

/** What a close code says where no error was told before. */
const CLOSED = { 1000: "ROOM_CLOSED", 1008: "REFUSED", 1009: "PAYLOAD_TOO_LARGE", 1011: "INTERNAL", 1012: "SHUTTING_DOWN" };

/**
 * A request that was refused. `code` is one of the contract's codes, or `TIMEOUT`, `OFFLINE`, `UNREACHABLE`, `REFUSED` made here.
 * (Its twin is in `signaling.js`: either file can be copied without the other. Tell them by `code`.)
 */
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
 * Events: those of `Signaling`. Besides, `room-users` carries `userId`: one's own, where the server may have given another one.
 *
 * A wire says where to connect ({@link WebSocketSignaling#address}), how to get in ({@link WebSocketSignaling#enter}, which ends in
 * {@link WebSocketSignaling#entered}), what a message means ({@link WebSocketSignaling#receive}) and how to say goodbye.
 */
export class WebSocketSignaling extends EventTarget {
  #url;
  #token;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {string | null} The room to be in; survives a dropped connection. */
  #roomId = null;
  /** In the room at this moment. */
  #in = false;
  /** Has been in the room, so that a dropped connection is one to come back from. */
  #joined = false;
  #attempts = 0;
  #retryTimer = 0;
  #offlineSince = 0;
  /** @type {SignalingError | null} the last one that answered no request */
  #trouble = null;
  /** @type {Map<string, { resolve: (value: any) => void, reject: (error: Error) => void, timer: number }>} */
  #expected = new Map();

  /** @param {{ url?: string, token?: string }} options `url`: where Parlor is; by default, where the page came from */
  constructor({ url = "/", token }) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** Whether one is in the room, over a connection that is up, at this moment. */
  get online() {
    return this.#in;
  }

  /** The room to be in, or null. */
  get roomId() {
    return this.#roomId;
  }

  /**
   * Connects and joins. Rejects with a {@link SignalingError}, and then nothing is left running.
   * @param {string} roomId
   * @returns {Promise<{ ok: true, roomId: string, userId?: string, users: object[] }>}
   */
  async join(roomId) {
    this.#roomId = roomId;
    try {
      return await this.#connect();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Leaves the room and hangs up. Safe while a page is being closed: nothing is awaited. */
  leave() {
    if (this.#in && this.connected) this.goodbye(this.#roomId);
    this.close();
  }

  /** Hangs up. */
  close() {
    clearTimeout(this.#retryTimer);
    this.#roomId = null;
    this.#joined = false;
    this.#drop();
    this.#failAll(new SignalingError("OFFLINE"));
  }

  // For the wires.

  /**
   * @param {string} roomId
   * @returns {URL}
   */
  address(roomId) {
    throw new Error(`no address for ${roomId}`);
  }

  /** The connection is up: ask to be let in, where connecting is not enough. @param {string} roomId */
  enter(roomId) {}

  /** @param {{ type?: string }} message any JSON object the server has sent */
  receive(message) {}

  /** The last thing to say before closing, where closing is not enough. @param {string} roomId */
  goodbye(roomId) {}

  /**
   * An address at the server, `ws:` or `wss:` as it is `http:` or `https:`.
   * @param {string} path
   * @param {Record<string, string>} [query]
   */
  endpoint(path, query = {}) {
    const address = new URL(path, new URL(this.#url, globalThis.location?.href));
    address.protocol = address.protocol.replace("http", "ws");
    if (this.#token) address.searchParams.set("token", this.#token);
    for (const [key, value] of Object.entries(query)) address.searchParams.set(key, value);
    return address;
  }

  /** Whether there is a connection, be one in the room or not yet. */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * One is in.
   * @param {object[]} users who else is
   * @param {string} [userId] one's own
   * @param {RTCIceServer[]} [iceServers] those the server names
   */
  entered(users, userId, iceServers) {
    this.#in = true;
    this.#attempts = 0;
    const back = this.#joined;
    this.#joined = true;
    this.tell("room-users", { users, userId, iceServers });
    this.settle("entry", { ok: true, roomId: this.#roomId, userId, users, iceServers });
    if (back) this.tell("online", { recovered: false });
  }

  /**
   * @param {object} message
   * @throws {SignalingError} `OFFLINE`
   */
  send(message) {
    if (!this.connected) throw new SignalingError("OFFLINE");
    this.#socket.send(JSON.stringify(message));
  }

  /**
   * Waits for {@link WebSocketSignaling#settle} or {@link WebSocketSignaling#fail} of this key.
   * @param {string} key
   * @param {{ within?: number, silenceIsConsent?: boolean }} [options] `within` is in milliseconds; when they are over it fails with
   *   `TIMEOUT`, or succeeds where the wire tells of failures only
   * @returns {Promise<any>}
   */
  expect(key, { within = ANSWER_TIMEOUT_MS, silenceIsConsent = false } = {}) {
    return new Promise((resolve, reject) => {
      const end = () => (silenceIsConsent ? this.settle(key) : this.fail(key, new SignalingError("TIMEOUT")));
      this.#expected.set(key, { resolve, reject, timer: setTimeout(end, within) });
    });
  }

  /** @param {string} key @param {unknown} [value] @returns {boolean} whether anybody waited for it */
  settle(key, value) {
    const one = this.#take(key);
    one?.resolve(value);
    return !!one;
  }

  /** @param {string} key @param {SignalingError} error @returns {boolean} whether anybody waited for it */
  fail(key, error) {
    const one = this.#take(key);
    one?.reject(error);
    return !!one;
  }

  /** An error that answers no request: a reason to be refused, or to be out of the room. @param {SignalingError} error */
  trouble(error) {
    this.#trouble = error;
    if (!this.#in) this.fail("entry", error);
    else if (FINAL.has(error.code)) this.end(error);
  }

  /** Out of the room, and not coming back. @param {SignalingError} error */
  end(error) {
    if (!this.#roomId) return;
    this.close();
    this.tell("ended", error);
  }

  /** @param {string} type @param {unknown} detail */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** One connection, from the handshake until one is in the room. */
  #connect() {
    const socket = new WebSocket(this.address(this.#roomId));
    const entry = this.expect("entry");
    this.#socket = socket;
    this.#trouble = null;
    const on = (type, handle) => socket.addEventListener(type, (event) => this.#socket === socket && handle(event));
    let open = false;
    on("open", () => {
      open = true;
      this.enter(this.#roomId);
    });
    on("message", ({ data }) => {
      const message = parsed(data);
      if (message) this.receive(message);
    });
    on("close", (event) => this.#closed(event, open));
    return entry;
  }

  /** @param {CloseEvent} event @param {boolean} wasOpen */
  #closed({ code, reason }, wasOpen) {
    const wasIn = this.#in;
    this.#in = false;
    this.#socket = null;
    const error = new SignalingError(
      codeIn(reason) ?? this.#trouble?.code ?? (wasOpen ? (CLOSED[code] ?? "OFFLINE") : "UNREACHABLE"),
      this.#trouble?.message ?? reason,
      this.#trouble?.retryAfterMs,
    );
    this.#failAll(error);
    // Not let in at all: whoever asked to join has just been told.
    if (!this.#joined) return;
    if (wasIn) {
      this.#offlineSince = Date.now();
      this.tell("offline", { reason: reason || `closed with ${code}`, code: error.code });
    }
    const final = FINAL.has(error.code) || code === 1008 || code === 1000;
    if (final && !this.#isGhost(error)) this.end(error);
    else this.#retryLater(error.retryAfterMs);
  }

  #retryLater(atLeast = 0) {
    // Somewhere in the upper half: a restarted server should not meet everybody in the same instant.
    const pause = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempts++) * (0.5 + Math.random() / 2);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#rejoin(), Math.max(pause, atLeast));
  }

  async #rejoin() {
    try {
      await this.#connect();
    } catch (error) {
      // A connection that has closed sees to its successor itself. One that is still up was refused, or left without an answer.
      if (!this.#socket) return;
      if (PASSING.has(error.code) || this.#isGhost(error)) {
        this.#drop();
        this.#retryLater(error.retryAfterMs);
      } else this.end(error);
    }
  }

  /** The server may not have noticed yet that our last connection is gone, and keep its place for it. */
  #isGhost(error) {
    return error.code === "ROOM_FULL" && Date.now() - this.#offlineSince < GHOST_MS;
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#in = false;
    socket?.close(1000);
  }

  #take(key) {
    const one = this.#expected.get(key);
    this.#expected.delete(key);
    clearTimeout(one?.timer);
    return one;
  }

  #failAll(error) {
    for (const key of [...this.#expected.keys()]) this.fail(key, error);
  }
}

/**
 * A description as WebRTC takes it, from a wire where it may be a bare text.
 * @param {RTCSdpType} type
 * @param {string | RTCSessionDescriptionInit} sdp
 * @returns {RTCSessionDescriptionInit}
 */
export function asDescription(type, sdp) {
  return typeof sdp === "string" ? { type, sdp } : { ...sdp, type };
}

/** The JSON object in a text frame, or null; what else a server may send is not for us. */
function parsed(data) {
  if (typeof data !== "string") return null;
  try {
    const message = JSON.parse(data);
    return message && typeof message === "object" ? message : null;
  } catch {
    return null;
  }
}

/** The code with which the reason of a close begins, if it does. */
function codeIn(reason) {
  return /^[A-Z]+(?:_[A-Z]+)+|^UNAUTHORIZED|^FORBIDDEN|^REPLACED|^INTERNAL/.exec(reason ?? "")?.[0];
}
