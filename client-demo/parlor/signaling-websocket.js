/**
 * What the wires over a plain WebSocket have in common: one connection, JSON both ways, and answers that are waited for.
 *
 * Guarantee: nothing is sent between a dropped connection and being in the room again but what it takes to get there.
 *
 * @module signaling-websocket
 */
import { codeIn, SignalingError } from "./signaling-error.js";
import { ANSWER_TIMEOUT_MS, Signaling } from "./signaling.js";

/** How long one's own lost connection may go on holding the last free place in the room, in milliseconds. */
const GHOST_MS = 60_000;

/**
 * What a close code says where no error was told before.
 * @type {Record<number, string>}
 */
const CLOSED = { 1000: "ROOM_CLOSED", 1008: "REFUSED", 1009: "PAYLOAD_TOO_LARGE", 1011: "INTERNAL", 1012: "SHUTTING_DOWN" };

/** The key of the request to be let in. */
const ENTRY = "entry";

/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, timer: number }} Expectation */

/**
 * A wire says where to connect ({@link WebSocketSignaling#place}), how to get in ({@link WebSocketSignaling#open}, which ends in
 * {@link WebSocketSignaling#entered}), and what a message means ({@link WebSocketSignaling#receive}).
 * @abstract
 */
export class WebSocketSignaling extends Signaling {
  /** @type {WebSocket | null} */
  #socket = null;
  /** Given up for lost, and not closed as long as its place may be taken again: that would be a goodbye. @type {WebSocket | null} */
  #abandoned = null;
  /** In the room at this moment. */
  #in = false;
  #offlineSince = 0;
  /** @type {SignalingError | null} the last one that answered no request */
  #trouble = null;
  /** @type {Map<string, Expectation>} */
  #expected = new Map();

  /** @override */
  get online() {
    return this.#in;
  }

  /**
   * One connection, from the handshake until one is in the room.
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
  async comeBack() {
    if (this.roomId === null) return;
    try {
      await this.enter(this.roomId);
    } catch (given) {
      const error = /** @type {SignalingError} */ (given);
      // A connection that has closed sees to its successor itself. One that is still up was refused, or left without an answer.
      if (!this.#socket) return;
      this.#drop();
      if (this.#isGhost(error)) this.retryLater(error.retryAfterMs);
      else this.refused(error);
    }
  }

  // For the wires.

  /** What is to be had before connecting. @protected */
  async prepare() {}

  /**
   * Where to connect.
   * @param {string} _roomId
   * @returns {URL}
   * @abstract
   * @protected
   */
  place(_roomId) {
    throw new Error("a wire says where");
  }

  /** The connection is up: ask to be let in, where connecting is not enough. @param {string} _roomId @protected */
  open(_roomId) {}

  /** @param {any} _message any JSON object the server has sent @abstract @protected */
  receive(_message) {}

  /** Whether the server may keep our place for another connection. @protected */
  get canResume() {
    return false;
  }

  /**
   * An address at the server, `ws:` or `wss:` as it is `http:` or `https:`.
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

  /** Whether there is a connection, be one in the room or not yet. @protected */
  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /**
   * One is in.
   * @param {import("./signaling.js").User[]} users who else is
   * @param {string} [userId] one's own
   * @param {RTCIceServer[]} [iceServers] those the server names
   * @protected
   */
  entered(users, userId, iceServers) {
    this.#in = true;
    this.tell("room-users", { users, userId, iceServers });
    this.#settled({ recovered: false }, { roomId: this.roomId, userId, users, iceServers });
  }

  /** One is still in. @protected */
  resumed() {
    this.#in = true;
    this.#settled({ recovered: true });
  }

  /** The connection is of no use any more, whatever the browser thinks of it. @param {string} reason @protected */
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
   * @param {{ within?: number, silenceIsConsent?: boolean }} [options] `within` is in milliseconds; when they are over it fails with
   *   `TIMEOUT`, or succeeds where the wire tells of failures only
   * @returns {Promise<any>}
   * @protected
   */
  expect(key, { within = ANSWER_TIMEOUT_MS, silenceIsConsent = false } = {}) {
    return new Promise((resolve, reject) => {
      const end = () => (silenceIsConsent ? this.settle(key) : this.fail(key, new SignalingError("TIMEOUT")));
      this.#expected.set(key, { resolve, reject, timer: setTimeout(end, within) });
    });
  }

  /** @param {string | undefined} key @param {unknown} [value] @returns {boolean} whether anybody waited for it @protected */
  settle(key, value) {
    const one = this.#take(key);
    one?.resolve(value);
    return !!one;
  }

  /** @param {string | undefined} key @param {SignalingError} error @returns {boolean} whether anybody waited for it @protected */
  fail(key, error) {
    const one = this.#take(key);
    one?.reject(error);
    return !!one;
  }

  /** One is not let in. @param {SignalingError} error @protected */
  notEntered(error) {
    this.fail(ENTRY, error);
  }

  /** An error that answers no request: a reason to be refused, or to be out of the room. @param {SignalingError} error @protected */
  trouble(error) {
    this.#trouble = error;
    if (!this.#in) this.notEntered(error);
    else this.endIfFinal(error);
  }

  /** @param {string} roomId @returns {Promise<import("./signaling.js").Joined>} */
  #connect(roomId) {
    const socket = new WebSocket(this.place(roomId));
    const entry = this.expect(ENTRY);
    this.#socket = socket;
    this.#trouble = null;
    let isOpen = false;
    // What comes of a connection that has been given up is nobody's affair.
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
      codeIn(reason) ?? this.#trouble?.code ?? (wasOpen ? (CLOSED[code] ?? "OFFLINE") : "UNREACHABLE"),
      this.#trouble?.message ?? reason,
      this.#trouble?.retryAfterMs,
    );
    this.notEntered(error);
    this.#failAll();
    // Not let in at all: whoever asked to join has just been told.
    if (!this.joined) return;
    if (wasIn) {
      this.#offlineSince = Date.now();
      this.dropped(reason || `closed with ${code}`, error.code);
    }
    if (this.#isGhost(error)) this.retryLater(error.retryAfterMs);
    else if (code === 1008 || code === 1000) this.end(error);
    else if (!this.endIfFinal(error)) this.retryLater(error.retryAfterMs);
  }

  /** The server may not have noticed yet that our last connection is gone, and keep its place for it. @param {SignalingError} error */
  #isGhost(error) {
    return error.code === "ROOM_FULL" && Date.now() - this.#offlineSince < GHOST_MS;
  }

  /**
   * @param {{ recovered: boolean }} how
   * @param {object} [answer]
   */
  #settled(how, answer) {
    // Its place was taken, by its own successor.
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
 * A description as WebRTC takes it, from a wire where it may be a bare text.
 * @param {RTCSdpType} type
 * @param {string | RTCSessionDescriptionInit} sdp
 * @returns {RTCSessionDescriptionInit}
 */
export function asDescription(type, sdp) {
  return typeof sdp === "string" ? { type, sdp } : { ...sdp, type };
}

/**
 * The JSON object in a text frame, or null; what else a server may send is not for us.
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
