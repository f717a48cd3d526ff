/**
 * The common part of the protocols over a plain WebSocket: one connection, JSON messages, and pending responses.
 *
 * Guarantee: between a lost connection and the rejoin, only messages that rejoin are sent.
 *
 * @module signaling-websocket
 */
import { codeIn, SignalingError } from "./signaling-error.js";
import { ANSWER_TIMEOUT_MS, Signaling } from "./signaling.js";

/** How long the client's own lost connection may occupy the last free slot of the room, in milliseconds. */
const GHOST_MS = 60_000;

/**
 * Error codes for close codes, if no error message preceded the close.
 * @type {Record<number, string>}
 */
const CLOSED = { 1000: "ROOM_CLOSED", 1008: "REFUSED", 1009: "PAYLOAD_TOO_LARGE", 1011: "INTERNAL", 1012: "SHUTTING_DOWN" };

/** The key of the pending request to join. */
const ENTRY = "entry";

/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, timer: number }} Expectation */

/**
 * A protocol implements where to connect ({@link WebSocketSignaling#place}), how to join ({@link WebSocketSignaling#open}, which ends in
 * {@link WebSocketSignaling#entered}), and the meaning of messages ({@link WebSocketSignaling#receive}).
 * @abstract
 */
export class WebSocketSignaling extends Signaling {
  /** @type {WebSocket | null} */
  #socket = null;
  /** A lost connection, kept open while its session may be resumed: a close would end the session. @type {WebSocket | null} */
  #abandoned = null;
  /** Whether the client is in the room. */
  #in = false;
  #offlineSince = 0;
  /** @type {SignalingError | null} the last error that answered no request */
  #lastError = null;
  /** @type {Map<string, Expectation>} */
  #expected = new Map();

  /** @override */
  get online() {
    return this.#in;
  }

  /**
   * Opens a connection and joins the room.
   * @param {string} roomId
   * @protected
   * @override
   */
  async enter(roomId) {
    await this.prepare();
    if (this.roomId !== roomId) throw new SignalingError("OFFLINE");
    return this.#connect(roomId);
  }

  /** @protected @override */
  disconnect() {
    this.#drop();
    this.#abandoned?.close(1000);
    this.#abandoned = null;
    this.#failAll();
  }

  /** @protected @override */
  async reconnect() {
    if (this.roomId === null) return;
    try {
      await this.enter(this.roomId);
    } catch (given) {
      const error = /** @type {SignalingError} */ (given);
      // A closed connection starts its own reconnection. An open one was refused, or got no response.
      if (!this.#socket) return;
      this.#drop();
      if (this.#isOwnFormer(error)) this.retryLater(error.retryAfterMs);
      else this.refused(error);
    }
  }

  // For protocols.

  /** Prepares a connection. @protected */
  async prepare() {}

  /**
   * Returns the address to connect to.
   * @param {string} _roomId
   * @returns {URL}
   * @abstract
   * @protected
   */
  place(_roomId) {
    throw new Error("not implemented by this protocol");
  }

  /** Called when the connection is open: joins, if connecting does not. @param {string} _roomId @protected */
  open(_roomId) {}

  /** @param {any} _message any JSON object from the server @abstract @protected */
  receive(_message) {}

  /** Whether the server may keep the session for another connection. @protected */
  get canResume() {
    return false;
  }

  /**
   * Returns an address of the server, `ws:` or `wss:` for `http:` or `https:`.
   * @param {string} path
   * @param {Record<string, string>} [query]
   * @protected
   */
  endpoint(path, query = {}) {
    const address = this.address(path);
    address.protocol = address.protocol.replace("http", "ws");
    if (this.token) address.searchParams.set("token", this.token);
    for (const [key, value] of Object.entries(query)) address.searchParams.set(key, value);
    return address;
  }

  /** Whether there is an open connection, in the room or not. @protected */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * The client is in the room.
   * @param {import("./signaling.js").User[]} users the other members
   * @param {string} [userId] the client's own
   * @param {RTCIceServer[]} [iceServers] those that the server reports
   * @protected
   */
  entered(users, userId, iceServers) {
    this.#in = true;
    this.tell("room-users", { users, userId, iceServers });
    this.#settled({ recovered: false }, { roomId: this.roomId, userId, users, iceServers });
  }

  /** The client is still in the room. @protected */
  resumed() {
    this.#in = true;
    this.#settled({ recovered: true });
  }

  /** The connection is lost, whatever its state in the browser. @param {string} reason @protected */
  lost(reason) {
    const socket = this.#socket;
    if (!socket) return;
    if (this.#in && this.canResume) this.#abandoned = socket;
    else socket.close(1000);
    this.#closed(socket, { code: 1006, reason }, true);
  }

  /**
   * @param {object} message
   * @throws {SignalingError} `OFFLINE`
   * @protected
   */
  send(message) {
    if (!this.#socket || !this.connected) throw new SignalingError("OFFLINE");
    this.#socket.send(JSON.stringify(message));
  }

  /**
   * Waits for {@link WebSocketSignaling#settle} or {@link WebSocketSignaling#fail} of this key.
   * @param {string} key
   * @param {{ within?: number, succeedsOnTimeout?: boolean }} [options] `within`: timeout in milliseconds, after which the request fails
   *   with `TIMEOUT`, or succeeds if the protocol reports failures only
   * @returns {Promise<any>}
   * @protected
   */
  expect(key, { within = ANSWER_TIMEOUT_MS, succeedsOnTimeout = false } = {}) {
    return new Promise((resolve, reject) => {
      const end = () => (succeedsOnTimeout ? this.settle(key) : this.fail(key, new SignalingError("TIMEOUT")));
      this.#expected.set(key, { resolve, reject, timer: setTimeout(end, within) });
    });
  }

  /** @param {string | undefined} key @param {unknown} [value] @returns {boolean} whether the key was pending @protected */
  settle(key, value) {
    const one = this.#take(key);
    one?.resolve(value);
    return !!one;
  }

  /** @param {string | undefined} key @param {SignalingError} error @returns {boolean} whether the key was pending @protected */
  fail(key, error) {
    const one = this.#take(key);
    one?.reject(error);
    return !!one;
  }

  /** The join was refused. @param {SignalingError} error @protected */
  notEntered(error) {
    this.fail(ENTRY, error);
  }

  /**
   * Handles an error that answers no request: the join was refused, or the client was removed from the room.
   * @param {SignalingError} error
   * @protected
   */
  trouble(error) {
    this.#lastError = error;
    if (!this.#in) this.notEntered(error);
    else this.endIfFinal(error);
  }

  /** @param {string} roomId @returns {Promise<import("./signaling.js").Joined>} */
  #connect(roomId) {
    const socket = new WebSocket(this.place(roomId));
    const entry = this.expect(ENTRY);
    this.#socket = socket;
    this.#lastError = null;
    let isOpen = false;
    // Events of an abandoned connection are ignored.
    const current = () => this.#socket === socket;
    socket.addEventListener("open", () => {
      isOpen = true;
      if (current()) this.open(roomId);
    });
    socket.addEventListener("message", ({ data }) => {
      const message = current() && parsed(data);
      if (message) this.receive(message);
    });
    socket.addEventListener("close", (event) => current() && this.#closed(socket, event, isOpen));
    return entry;
  }

  /**
   * @param {WebSocket} socket
   * @param {{ code: number, reason: string }} event
   * @param {boolean} wasOpen
   */
  #closed(socket, { code, reason }, wasOpen) {
    const wasIn = this.#in;
    this.#in = false;
    this.#socket = null;
    const error = new SignalingError(
      codeIn(reason) ?? this.#lastError?.code ?? (wasOpen ? (CLOSED[code] ?? "OFFLINE") : "UNREACHABLE"),
      this.#lastError?.message ?? reason,
      this.#lastError?.retryAfterMs,
    );
    this.notEntered(error);
    this.#failAll();
    // The join failed: its promise has been rejected.
    if (!this.joined) return;
    if (wasIn) {
      this.#offlineSince = Date.now();
      this.dropped(reason || `closed with ${code}`, error.code);
    }
    if (this.#isOwnFormer(error)) this.retryLater(error.retryAfterMs);
    else if (code === 1008 || code === 1000) this.end(error);
    else if (!this.endIfFinal(error)) this.retryLater(error.retryAfterMs);
  }

  /** Whether the server may not have detected the loss of this client's last connection, which still occupies a slot. @param {SignalingError} error */
  #isOwnFormer(error) {
    return error.code === "ROOM_FULL" && Date.now() - this.#offlineSince < GHOST_MS;
  }

  /**
   * @param {{ recovered: boolean }} how
   * @param {object} [answer]
   */
  #settled(how, answer) {
    // Another connection of this client has taken over the session.
    this.#abandoned?.close(1000);
    this.#abandoned = null;
    this.settle(ENTRY, answer);
    this.arrived(how);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#in = false;
    socket?.close(1000);
  }

  /** @param {string | undefined} key */
  #take(key) {
    const one = key === undefined ? undefined : this.#expected.get(key);
    if (one && key !== undefined) this.#expected.delete(key);
    clearTimeout(one?.timer);
    return one;
  }

  #failAll() {
    for (const key of [...this.#expected.keys()]) this.fail(key, new SignalingError("OFFLINE"));
  }
}

/**
 * Returns a description as WebRTC expects it, from a protocol in which it may be a bare text.
 * @param {RTCSdpType} type
 * @param {string | RTCSessionDescriptionInit} sdp
 * @returns {RTCSessionDescriptionInit}
 */
export function asDescription(type, sdp) {
  return typeof sdp === "string" ? { type, sdp } : { ...sdp, type };
}

/**
 * Returns the JSON object in a text frame, or null; other messages are ignored.
 * @param {unknown} data
 */
function parsed(data) {
  if (typeof data !== "string") return null;
  try {
    const message = JSON.parse(data);
    return message && typeof message === "object" ? message : null;
  } catch {
    return null;
  }
}
