/**
 * The Socket.IO wire: one connection, one room.
 *
 * Guarantee: after a dropped connection one is in the room under the same `userId` before `online` is told: because the server has kept the
 * place, or because it is joined again.
 *
 * @module signaling-socketio
 */
// The one line to change where Parlor does not serve this page: "https://signal.example.com/socket.io/socket.io.esm.min.js", or
// "socket.io-client" where a bundler finds the package.
import { io } from "/socket.io/socket.io.esm.min.js";
import { codeIn, SignalingError } from "./signaling-error.js";
import { ANSWER_TIMEOUT_MS, asUser, RETRY, Signaling } from "./signaling.js";

/** @typedef {import("./signaling.js").SignalingOptions & { userId: string, name: string }} SocketIoOptions */

/** What the events are called. */
const EVENTS = { offer: "offer", answer: "answer", candidate: "ice-candidate" };

export class SocketIoSignaling extends Signaling {
  #socket;
  #userId;
  #name;
  /** In the room, as far as this connection goes, or the one that it has recovered. */
  #in = false;

  /**
   * @param {SocketIoOptions} options `userId` makes the place in the room one's own: whoever joins with it again, from another
   *   connection, takes that place back
   */
  constructor({ url = "/", userId, name, token }) {
    super({ url, token });
    this.#userId = userId;
    this.#name = name;
    this.#socket = io(url, {
      autoConnect: false,
      // A connection for each: a shared one would carry the handlers of an earlier call.
      forceNew: true,
      // A WebSocket at once, and polling where there is none to be had: a goodbye over a WebSocket arrives even from a closing tab.
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelay: RETRY.firstMs,
      reconnectionDelayMax: RETRY.longestMs,
      randomizationFactor: RETRY.chance,
      // Asked at each connection: the token may be a newer one by then.
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
  goodbye(roomId) {
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
    // Until one is in the room again it would be a stranger's.
    if (!this.online) throw new SignalingError("OFFLINE");
    return this.#request(EVENTS[kind], { ...extra, targetId, [kind]: body, roomId: this.roomId });
  }

  /** @protected @override */
  async comeBack() {
    // What comes of it is for `connect` and `connect_error` to say.
    if (!this.#socket.connected) return void this.#socket.connect();
    try {
      await this.#join();
    } catch (error) {
      // A connection that has broken is taken up by Socket.IO itself.
      if (this.#socket.connected) this.refused(/** @type {SignalingError} */ (error));
    }
  }

  /** @protected @override */
  networkBack() {
    // Not `connect` alone: while Socket.IO waits for its own next attempt, that does nothing.
    if (this.joined && !this.#socket.connected) this.#socket.disconnect().connect();
  }

  async #join() {
    const answer = await this.#request("join-room", { roomId: this.roomId, userId: this.#userId, name: this.#name });
    this.arrived({ recovered: false });
    return { ...answer, users: answer.users.map(member) };
  }

  /**
   * One event, one acknowledgement.
   * @param {string} event
   * @param {object} body
   */
  async #request(event, body) {
    // Socket.IO would keep it for the next connection, where it would arrive before the re-join.
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

  /** The first connection. Later ones are Socket.IO's own affair. @returns {Promise<void>} */
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

    // Comes right after Parlor's `room-users`, with the same list and one's own ids.
    socket.on("room-joined", ({ users, userId, iceServers }) => {
      this.#in = true;
      this.tell("room-users", { users: users.map(member), userId, iceServers });
    });
    for (const event of /** @type {const} */ (["user-joined", "user-away", "user-back"])) {
      socket.on(event, (peer) => this.tell(event, member(peer)));
    }
    socket.on("user-left", (peer) => this.tell("user-left", { ...member(peer), reason: peer.reason }));
    for (const event of /** @type {const} */ (["offer", "answer", "ice-candidate"])) {
      // Who the sender is, lists say; a relayed signal does not.
      socket.on(event, ({ user: _, ...detail }) => this.tell(event, /** @type {any} */ (detail)));
    }

    socket.on("error", (error) => {
      lastCode = error?.code ?? "INTERNAL";
      this.endIfFinal(new SignalingError(lastCode, error?.message, error?.retryAfterMs));
    });

    socket.on("connect", () => {
      lastCode = "OFFLINE";
      this.#in &&= socket.recovered;
      if (this.#in) this.arrived({ recovered: true });
      else if (this.joined) this.comeBack();
    });

    socket.on("connect_error", (error) => {
      // `active`: Socket.IO goes on trying. After a refusal by the server it does not.
      if (this.joined && !socket.active) this.refused(refusal(error));
    });

    socket.on("disconnect", (reason) => {
      this.dropped(reason, lastCode);
      // The one reason after which Socket.IO stays away: the server ended it. It is back soon, or another one is.
      if (this.joined && reason === "io server disconnect") this.retryLater();
    });
  }
}

/** A peer as the server describes it: its own fields, and those of the peer beside them. @param {any} peer */
function member(peer) {
  return asUser(peer, peer);
}

/**
 * A refused connection: the server begins its message with the code, a dead network has none.
 * @param {Error} error
 */
function refusal(error) {
  return new SignalingError(codeIn(error.message) ?? "UNREACHABLE", error.message);
}
