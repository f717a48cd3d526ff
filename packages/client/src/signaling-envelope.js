/**
 * The envelope protocol, `/ws`: typed messages with request/response correlation.
 *
 * The server numbers its messages and issues a resume token: after a lost connection both resume the session, and missed messages are
 * replayed. If the session has expired, the room is joined again under the same `userId`.
 *
 * The guarantee that is easy to break: the number is that of the last message of the session, not of the connection that resumes it.
 *
 * @module signaling-envelope
 */
import { asUser } from "./signaling-user.js";
import { SignalingError } from "./signaling-error.js";
import { asDescription, WebSocketSignaling } from "./signaling-websocket.js";
import { uuid } from "./uuid.js";

/** @typedef {import("./signaling.js").SignalingOptions & { userId: string, name: string, metadata?: Record<string, unknown> }} EnvelopeOptions */

/** Messages that carry a resume token. */
const TOKEN_TYPES = ["auth:response", "room:state"];

/** The message types of signals. */
const TYPES = { offer: "sdp:offer", answer: "sdp:answer", candidate: "ice:candidate" };

/**
 * Heartbeat interval and timeout in milliseconds: browsers do not report a silent connection, and the server keeps the replay buffer for
 * ten seconds.
 */
const PING_MS = 5000;
const PONG_MS = 4000;

export class EnvelopeSignaling extends WebSocketSignaling {
  #userId;
  #name;
  #metadata;
  /** The resume token. @type {string | undefined} */
  #resumeToken;
  /** The number of the last message received. */
  #sequence = 0;
  /** Whether the session is in a room. */
  #isMember = false;
  /** A resumption is in progress: messages received before its response do not belong to the session. */
  #isResuming = false;
  /** @type {number | undefined} */
  #pingTimer;

  /**
   * @param {EnvelopeOptions} options `userId` identifies the member: joining with it from another connection replaces the former one;
   *   `metadata` is shown to the other peers, with the name
   */
  constructor({ url, userId, name, metadata, token }) {
    super({ url, token });
    this.#userId = userId;
    this.#name = name;
    this.#metadata = metadata;
  }

  /** @override */
  get userId() {
    return this.#userId;
  }

  /** The metadata that other peers see, in addition to the name. @returns {Record<string, unknown> | undefined} */
  get metadata() {
    return this.#metadata;
  }

  /**
   * Sends a request other than a signal, such as to the media server.
   * @param {string} type
   * @param {object} [payload]
   * @returns {Promise<any>} the payload of the response; rejects with a {@link SignalingError}, `OFFLINE` while not in the room
   */
  async ask(type, payload = {}) {
    if (!this.online) throw new SignalingError("OFFLINE");
    return this.#request(type, payload);
  }

  /** @protected @override */
  get canResume() {
    return this.#resumeToken !== undefined;
  }

  /** @protected @override */
  place() {
    return this.endpoint("/ws");
  }

  /** @param {string} roomId @protected @override */
  async open(roomId) {
    try {
      const isBack = await this.#resume();
      this.#isMember &&= isBack;
      if (this.#isMember) this.resumed();
      else await this.#join(roomId);
      this.#watch();
    } catch (error) {
      this.notEntered(/** @type {SignalingError} */ (error));
    }
  }

  /** @protected @override */
  disconnect() {
    clearTimeout(this.#pingTimer);
    this.#resumeToken = undefined;
    this.#isMember = false;
    super.disconnect();
  }

  /** @protected @override */
  networkLost() {
    this.lost("the browser is offline");
  }

  /** @param {string} roomId @protected @override */
  sendLeave(roomId) {
    this.send(envelope("room:leave", { roomId }));
  }

  /** @param {string} token @protected @override */
  async authenticate(token) {
    const { success, error } = await this.#request("auth:request", { token });
    if (!success) throw new SignalingError(error?.code ?? "INTERNAL", error?.message);
  }

  /**
   * @param {import("./signaling.js").SignalKind} kind
   * @param {string} targetUserId
   * @param {any} body
   * @param {object} [extra] carried within this protocol only
   * @protected
   * @override
   */
  async transmit(kind, targetUserId, body, extra) {
    if (!this.online) throw new SignalingError("OFFLINE");
    const content = kind === "candidate" ? { candidate: null, sdpMid: null, sdpMLineIndex: null, ...body } : body;
    return this.#request(TYPES[kind], { ...extra, ...content, targetUserId, roomId: this.roomId });
  }

  /** @param {string} topic @param {object} data @param {string} [targetUserId] @protected @override */
  transmitMessage(topic, data, targetUserId) {
    return this.ask("room:message", { topic, data, roomId: this.roomId, ...(targetUserId && { targetUserId }) });
  }

  /**
   * Changes the metadata that the other peers see, also those that join later. Not repeated if the connection is lost, but part of a rejoin.
   * @param {object} metadata keys to set; `null` removes a key
   */
  async update(metadata) {
    this.#metadata = { ...this.#metadata, ...metadata };
    await this.ask("room:update", { metadata, roomId: this.roomId });
  }

  /** @param {string} roomId */
  async #join(roomId) {
    const user = { id: this.#userId, displayName: this.#name };
    const { participants, iceServers } = await this.#request("room:join", { roomId, user, metadata: { ...this.#metadata, name: this.#name } });
    this.#isMember = true;
    const users = /** @type {any[]} */ (participants).map((one) => this.#user(one));
    this.entered(users.filter(({ userId }) => userId !== this.#userId), this.#userId, iceServers);
  }

  /** Resumes the session, if there was one. @returns {Promise<boolean>} */
  async #resume() {
    if (this.#resumeToken === undefined) return false;
    const asked = { resumeToken: this.#resumeToken, lastSequence: this.#sequence };
    this.#isResuming = true;
    try {
      return (await this.#request("auth:request", asked)).recovered === true;
    } catch (error) {
      // Without a response, the resumption may be tried again.
      if (["OFFLINE", "TIMEOUT"].includes(/** @type {SignalingError} */ (error).code)) throw error;
      return false;
    } finally {
      this.#isResuming = false;
    }
  }

  /** Sends heartbeats. */
  #watch() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(async () => {
      if (!this.online) return;
      try {
        await this.#request("ping", {}, PONG_MS);
      } catch (error) {
        if (/** @type {SignalingError} */ (error).code === "TIMEOUT") return this.lost("the server does not answer");
      }
      this.#watch();
    }, PING_MS);
  }

  /**
   * Sends a message and waits for its response.
   * @param {string} type
   * @param {object} payload
   * @param {number} [within] in milliseconds
   * @returns {Promise<any>} the payload of the response
   */
  #request(type, payload, within) {
    const correlationId = uuid();
    this.send({ ...envelope(type, payload), correlationId });
    return this.expect(correlationId, { within });
  }

  /** @param {{ type: string, payload?: any, correlationId?: string, sequence?: number }} message @protected @override */
  receive({ type, payload = {}, correlationId, sequence }) {
    if (sequence !== undefined && (!this.#isResuming || payload.recovered === false)) this.#sequence = sequence;
    // Only the server's own messages carry the token: relayed ones contain arbitrary data of their sender.
    if (TOKEN_TYPES.includes(type)) this.#resumeToken = payload.resumeToken ?? this.#resumeToken;
    if (type === "error") {
      const { code = "INTERNAL", message, retryAfterMs } = payload;
      const error = new SignalingError(code, message, retryAfterMs);
      if (!this.fail(correlationId, error)) this.trouble(error);
    } else if (!this.settle(correlationId, payload)) {
      this.#handleMessage(type, payload);
    }
  }

  /** @param {string} type @param {any} payload */
  #handleMessage(type, payload) {
    // The sender is known from the list; relayed payloads do not describe it.
    const { fromUserId: from, targetUserId: _, user: __, sdp, candidate, sdpMid, sdpMLineIndex, usernameFragment, ...rest } = payload;
    const sender = { ...rest, from, userId: from };
    switch (type) {
      case "room:participant-joined":
        return this.tell("user-joined", this.#user(payload.participant));
      case "room:participant-left":
        return this.tell("user-left", { ...rest, id: payload.userId });
      case "room:participant-away":
        return this.tell("user-away", { ...rest, id: payload.userId });
      case "room:participant-back":
        return this.tell("user-back", { ...rest, id: payload.userId });
      case "room:participant-updated":
        return this.tell("user-updated", this.#user(payload.participant));
      case "room:message":
        return this.tell("application", { from, topic: payload.topic, data: payload.data });
      case "sdp:offer":
        return this.tell("offer", { ...sender, offer: asDescription("offer", sdp) });
      case "sdp:answer":
        return this.tell("answer", { ...sender, answer: asDescription("answer", sdp) });
      case "ice:candidate":
        return this.tell("ice-candidate", {
          ...sender,
          candidate: candidate === null ? null : { candidate, sdpMid, sdpMLineIndex, usernameFragment },
        });
      default:
        return this.tell("message", { type, payload });
    }
  }

  /** @param {any} participant @returns {import("./signaling.js").User} */
  #user({ userId, displayName, joinedAt, metadata }) {
    // The server reports the id as the name of a peer without a name.
    const name = displayName === userId ? undefined : displayName;
    return asUser({ userId, joinedAt, roomId: this.roomId }, { ...metadata, name });
  }
}

/** @param {string} type @param {object} payload */
function envelope(type, payload) {
  return { type, payload, timestamp: Date.now() };
}
