/**
 * The Socket.IO protocol: one connection, one room.
 *
 * Guarantee: after a lost connection the client is in the room under the same `userId` before `online` is emitted: the session was resumed,
 * or the room was joined again.
 *
 * @module signaling-socketio
 */
import { io } from "./io.js";
import { codeIn, SignalingError } from "./signaling-error.js";
import { RETRY } from "./retry.js";
import { ANSWER_TIMEOUT_MS, Signaling } from "./signaling.js";
import { asUser } from "./signaling-user.js";

/** @typedef {import("./signaling.js").SignalingOptions & { userId: string, name: string }} SocketIoOptions */

/** The event names of signals. */
const EVENTS = { offer: "offer", answer: "answer", candidate: "ice-candidate" };

const SIGNAL_EVENTS = Object.values(EVENTS);

export class SocketIoSignaling extends Signaling {
  #socket;
  #userId;
  #name;
  /** Whether this connection, or the one that it has recovered, is in the room. */
  #in = false;
  /** The id of the last session. @type {string | undefined} */
  #id;

  /**
   * @param {SocketIoOptions} options `userId` identifies the member: joining with it from another connection replaces the former one
   */
  constructor({ url = "/", userId, name, token }) {
    super({ url, token });
    this.#userId = userId;
    this.#name = name;
    this.#socket = io(url, {
      autoConnect: false,
      // A connection of its own: a shared one would carry the handlers of an earlier call.
      forceNew: true,
      // WebSocket first, polling as the fallback: over a WebSocket the leave of a closing tab is delivered.
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelay: RETRY.firstMs,
      reconnectionDelayMax: RETRY.longestMs,
      randomizationFactor: RETRY.chance,
      // Evaluated for each connection, since the token may be newer by then.
      auth: (give) => give(this.token ? { token: this.token } : {}),
    });
    this.#listen();
  }

  /** @override */
  get userId() {
    return this.#userId;
  }

  /** @override */
  get online() {
    return this.#in && this.#socket.connected;
  }

  /** @returns {Promise<import("./signaling.js").Joined>} @protected @override */
  async enter() {
    await this.#connect();
    return this.#join();
  }

  /** @protected @override */
  disconnect() {
    this.#in = false;
    this.#socket.disconnect();
  }

  /** @param {string} roomId @protected @override */
  sendLeave(roomId) {
    this.#socket.emit("leave-room", { roomId });
  }

  /** @param {string} token @protected @override */
  authenticate(token) {
    return this.#request("auth", { token });
  }

  /**
   * @param {import("./signaling.js").SignalKind} kind
   * @param {string} targetId
   * @param {import("./signaling.js").SignalBody} body
   * @param {object} [extra]
   * @protected
   * @override
   */
  async transmit(kind, targetId, body, extra) {
    // Before the rejoin, the signal would have another sender.
    if (!this.online) throw new SignalingError("OFFLINE");
    return this.#request(EVENTS[kind], { ...extra, targetId, [kind]: body, roomId: this.roomId });
  }

  /** @param {string} topic @param {object} data @param {string} [targetId] @protected @override */
  async transmitMessage(topic, data, targetId) {
    if (!this.online) throw new SignalingError("OFFLINE");
    return this.#request(topic, { ...data, ...(targetId && { targetId }), roomId: this.roomId });
  }

  /** @protected @override */
  async reconnect() {
    // `connect` and `connect_error` handle the result.
    if (!this.#socket.connected) return void this.#socket.connect();
    try {
      await this.#join();
    } catch (error) {
      // Socket.IO itself reconnects a lost connection.
      if (this.#socket.connected) this.refused(/** @type {SignalingError} */ (error));
    }
  }

  /** @protected @override */
  networkBack() {
    // Not `connect` alone: it has no effect while Socket.IO waits for its next attempt.
    if (this.joined && !this.#socket.connected) this.#socket.disconnect().connect();
  }

  async #join() {
    const answer = await this.#request("join-room", { roomId: this.roomId, userId: this.#userId, name: this.#name });
    this.arrived({ recovered: false });
    return { ...answer, users: answer.users.map(member) };
  }

  /**
   * Emits an event and waits for its acknowledgement.
   * @param {string} event
   * @param {object} body
   */
  async #request(event, body) {
    // Socket.IO would queue it for the next connection, where it would arrive before the rejoin.
    if (!this.#socket.connected) throw new SignalingError("OFFLINE");
    let answer;
    try {
      answer = await this.#socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(event, body);
    } catch {
      throw new SignalingError(this.#socket.connected ? "TIMEOUT" : "OFFLINE");
    }
    if (answer?.ok) return answer;
    throw new SignalingError(answer?.code ?? "INTERNAL", answer?.error, answer?.retryAfterMs);
  }

  /** Waits for the first connection; Socket.IO handles later ones. @returns {Promise<void>} */
  #connect() {
    const socket = this.#socket;
    if (socket.connected) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (/** @type {Error | void} */ error) => {
        socket.off("connect", settle);
        socket.off("connect_error", settle);
        if (error) reject(refusal(error));
        else resolve();
      };
      socket.on("connect", settle);
      socket.on("connect_error", settle);
      socket.connect();
    });
  }

  #listen() {
    const socket = this.#socket;
    let lastCode = "OFFLINE";

    // Follows Parlor's `room-users`, with the same list and the client's own ids.
    socket.on("room-joined", ({ users, userId, iceServers }) => {
      this.#in = true;
      this.tell("room-users", { users: users.map(member), userId, iceServers });
    });
    for (const event of /** @type {const} */ (["user-joined", "user-away", "user-back", "user-updated"])) {
      socket.on(event, (peer) => this.tell(event, member(peer)));
    }
    socket.on("user-left", (peer) => this.tell("user-left", { ...member(peer), reason: peer.reason }));
    for (const event of /** @type {const} */ (["offer", "answer", "ice-candidate"])) {
      // The sender is known from the list; a relayed signal does not describe it.
      socket.on(event, ({ user: _, ...detail }) => this.tell(event, /** @type {any} */ (detail)));
    }

    socket.onAny((topic, data) => {
      // The server's own events name no sender, and signals are handled above.
      if (typeof data?.from === "string" && !SIGNAL_EVENTS.includes(topic)) this.tell("application", { from: data.from, topic, data });
    });

    socket.on("error", (error) => {
      lastCode = error?.code ?? "INTERNAL";
      this.endIfFinal(new SignalingError(lastCode, error?.message, error?.retryAfterMs));
    });

    socket.on("connect", () => {
      lastCode = "OFFLINE";
      // A session that has moved to another node of a cluster keeps its id, but not the token by which Socket.IO detects a resumption.
      this.#in &&= socket.recovered || socket.id === this.#id;
      this.#id = socket.id;
      if (this.#in) this.arrived({ recovered: true });
      else if (this.joined) this.reconnect();
    });

    socket.on("connect_error", (error) => {
      // `active`: Socket.IO keeps trying. After a refusal by the server it does not.
      if (this.joined && !socket.active) this.refused(refusal(error));
    });

    socket.on("disconnect", (reason) => {
      this.dropped(reason, lastCode);
      // Socket.IO does not reconnect after the server has disconnected it. The server, or another one, is going to be available again.
      if (this.joined && reason === "io server disconnect") this.retryLater();
    });
  }
}

/** A peer as the server describes it: server fields and its metadata in one object. @param {any} peer */
function member(peer) {
  return asUser(peer, peer);
}

/**
 * The error of a refused connection: the server begins its message with the code; a network error has none.
 * @param {Error} error
 */
function refusal(error) {
  return new SignalingError(codeIn(error.message) ?? "UNREACHABLE", error.message);
}
