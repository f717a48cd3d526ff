/**
 * A call through Parlor's media server: each client sends one copy of each of its tracks. It replaces {@link Mesh}, over the envelope
 * protocol; members that can use a mesh only are listed, but their media is not received.
 *
 * - a lost connection to the server does not affect the media: requests wait, and are sent after the reconnection
 * - if the membership in the room is lost, all transports, producers and consumers are created again
 * - a member that leaves is removed at once: the server ends its media
 *
 * This module does not use the DOM.
 *
 * @module sfu
 */
import { Emitter } from "./emitter.js";
import { NO_TRACKS } from "./mesh.js";
import { cleanName } from "./name.js";
import { SfuMedia } from "./sfu-media.js";
import { SfuPeer } from "./sfu-peer.js";
import { SignalingError } from "./signaling-error.js";

/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./mesh.js").Sends} Sends */

/** Minimum time in milliseconds between two attempts to create the media, and before a request that exceeds the rate limit is repeated. */
const RETRY_MS = 1000;

/** Maximum repetitions of a request that exceeds the rate limit. */
const ATTEMPTS = 5;

/** Requests that may be repeated if the response was lost. */
const REPEATABLE = new Set([
  "router:capabilities", "producers:list", "producer:pause", "producer:resume", "producer:close", "consumer:resume", "consumer:layers",
  "consumer:close", "transport:restart-ice", "transport:close",
]);

/**
 * A track that a member sends.
 * @typedef {{ producerId: string, userId: string, kind: "audio" | "video", paused?: boolean, appData: any }} Source
 */

/**
 * A member of the room.
 * @typedef {object} SfuMember
 * @property {string} id the `userId`
 * @property {string} name
 * @property {boolean} elsewhere in the room without the media server: there is no media
 * @property {SfuPeer | null} peer null for members elsewhere
 * @property {boolean} away lost its connection to the server and may resume; media may still flow
 * @property {Sends | null} sends
 */

/**
 * The events of an {@link Sfu}. `joined`, `changed`, `stream` and `left` are those of a mesh; `speaker`: the active speaker has changed,
 * and may be this client; `failed`: a track could not be sent or received.
 * @typedef {{
 *   "joined": SfuMember,
 *   "changed": SfuMember,
 *   "stream": SfuMember,
 *   "left": SfuMember & { reason: string },
 *   "speaker": { id: string, level: number },
 *   "failed": SignalingError,
 * }} SfuEvents
 */

/**
 * @typedef {object} SfuOptions
 * @property {import("./signaling-envelope.js").EnvelopeSignaling} signaling with `media: "sfu"` in its `metadata`, which informs the other
 *   members
 * @property {DeviceClass} [Device] from mediasoup-client
 * @property {() => DeviceClass | Promise<DeviceClass>} [loadDevice] returns it, if it is loaded only when needed
 * @property {import("./signaling.js").SignalingEvents["room-users"]} [present] the room, if it was joined before
 */

/** @typedef {new () => import("mediasoup-client").types.Device} DeviceClass */

/** @extends {Emitter<SfuEvents>} */
export class Sfu extends Emitter {
  #signaling;
  #loadDevice;
  /** @type {Map<string, SfuMember>} */
  #members = new Map();
  /** By producer id. @type {Map<string, Source>} */
  #sources = new Map();
  /** @type {SfuMedia | null} */
  #media = null;
  /** @type {import("./sfu-media.js").Outgoing} */
  #outgoing = { ...NO_TRACKS, sends: { audio: false, video: false, screen: false } };
  /** Callbacks that wait for the connection. @type {(() => void)[]} */
  #waiting = [];
  /** @type {number | undefined} */
  #retryTimer;
  /** Time of the last attempt to create the media. */
  #builtAt = -Infinity;
  #abort = new AbortController();

  /** @param {SfuOptions} options create it before joining, so that no event of the room is missed */
  constructor({ signaling, Device, loadDevice, present }) {
    super();
    this.#signaling = signaling;
    this.#loadDevice = loadDevice ?? (() => Device);
    this.#listen();
    // Later, so that the owner can listen as well.
    if (present) queueMicrotask(() => this.#enter(present));
  }

  /** The members of the call. @returns {Map<string, SfuMember>} a copy */
  get members() {
    return new Map(this.#members);
  }

  /**
   * Sets the tracks that all members receive.
   * @param {Partial<import("./mesh.js").Tracks>} tracks a kind that is missing is no longer sent
   * @param {Partial<Sends>} [sends] what to announce: without `audio` the microphone is muted
   */
  send(tracks, sends = {}) {
    const { audio, video, screen } = tracks;
    this.#outgoing = { ...NO_TRACKS, ...tracks, sends: { audio: !!audio, video: !!video, screen: !!screen, ...sends } };
    this.#media?.send(this.#outgoing);
  }

  /**
   * Limits the video of a member to this layer.
   * @param {string} id the member
   * @param {number} spatialLayer from 0, the lowest
   */
  async preferLayer(id, spatialLayer) {
    const member = this.#members.get(id);
    const consumer = member?.peer?.consumer("video");
    if (!member?.peer?.layers || !consumer) return;
    member.peer.layers.wanted = spatialLayer;
    await this.#ask("consumer:layers", { consumerId: consumer.id, spatialLayer });
    this.tell("changed", member);
  }

  /** Ends the media. The signaling is unaffected. */
  close() {
    this.#abort.abort();
    clearTimeout(this.#retryTimer);
    this.#media?.close();
    this.#media = null;
    this.#members.clear();
    this.#waiting = [];
  }

  #listen() {
    /**
     * @template {keyof import("./signaling.js").SignalingEvents} Name
     * @param {Name} name
     * @param {(detail: import("./signaling.js").SignalingEvents[Name]) => unknown} handle
     */
    const on = (name, handle) =>
      this.#signaling.addEventListener(name, ({ detail }) => handle(detail), { signal: this.#abort.signal });

    on("room-users", (room) => this.#enter(room));
    on("online", () => this.#resumeRequests());
    on("user-joined", (user) => this.#admit(user));
    on("user-updated", (user) => this.#members.has(user.userId) && this.#admit(user));
    // The event names the user only.
    on("user-back", ({ userId }) => this.#update(userId, { away: false }));
    on("user-away", ({ userId }) => this.#update(userId, { away: true }));
    on("user-left", ({ userId, reason }) => {
      const member = this.#members.get(userId);
      if (member) this.#remove(member, reason ?? "disconnected");
    });
    on("message", ({ type, payload }) => this.#handleMessage(type, payload));
  }

  /** The room is joined, perhaps again. @param {{ users: User[] }} room */
  #enter({ users }) {
    if (this.#abort.signal.aborted) return;
    const listed = new Set(users.map((user) => user.userId));
    for (const member of [...this.#members.values()]) if (!listed.has(member.id)) this.#remove(member, "timeout");
    for (const user of users) this.#admit(user);
    this.#resumeRequests();
    this.#build();
  }

  /** @param {string} type @param {any} payload */
  #handleMessage(type, payload) {
    switch (type) {
      case "new:producer":
        return this.#receive(payload);
      case "producer:paused":
      case "producer:resumed":
        return this.#pause(payload.producerId, type === "producer:paused");
      case "producer:closed":
        return this.#forget(payload.producerId);
      case "consumer:closed":
        return this.#forget(this.#sourceOf(payload.consumerId)?.producerId);
      case "consumer:layers-changed":
        return this.#showLayer(this.#sourceOf(payload.consumerId), payload.spatialLayer);
      case "room:active-speaker":
        return this.tell("speaker", { id: payload.userId, level: payload.level });
      case "transport:failed":
        return this.#media?.restart(payload.transportId);
      // The response to a request that was given up, because the connection was lost.
      case "transport:created":
        return this.#ask("transport:close", { transportId: payload.id }).catch(() => {});
    }
  }

  /** Creates everything again, and replaces what exists. */
  async #build() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#builtAt = performance.now();
    this.#media?.close();
    this.#sources.clear();
    for (const { peer } of this.#members.values()) peer?.clear();
    const media = new SfuMedia({ ask: (type, payload) => this.#ask(type, payload), device: this.#newDevice() });
    this.#media = media;
    const current = () => this.#media === media;
    media.addEventListener("state", () => {
      if (current()) for (const member of this.#members.values()) this.tell("changed", member);
    });
    media.addEventListener("broken", () => current() && this.#rebuild());
    media.addEventListener("failed", ({ detail }) => current() && this.#recover(detail));
    try {
      await media.open();
      if (!current()) return;
      media.send(this.#outgoing);
      const { producers } = await this.#ask("producers:list");
      // Members that joined meanwhile are known already.
      if (current()) for (const source of producers) this.#receive(source);
    } catch (error) {
      if (current()) this.#reportError(/** @type {SignalingError} */ (error));
    }
  }

  async #newDevice() {
    const Device = await this.#loadDevice();
    if (!Device) throw new TypeError("Device or loadDevice is required");
    return new Device();
  }

  /** Creates everything again at once, unless that was just attempted. */
  #rebuild() {
    // Everything that uses a failed transport fails: that must not postpone the attempt.
    if (this.#retryTimer !== undefined) return;
    this.#retryTimer = setTimeout(() => this.#build(), Math.max(0, this.#builtAt + RETRY_MS - performance.now()));
  }

  /** @param {Source} source */
  async #receive(source) {
    const { producerId, userId, appData } = source;
    const kind = kindOf(source);
    const media = this.#media;
    if (!media?.isOpen || this.#sources.has(producerId)) return;
    this.#sources.set(producerId, source);
    this.#updateSources(userId);
    const wanted = () => this.#media === media && this.#sources.get(producerId) === source;
    try {
      const consumer = await media.consume(producerId, kind.startsWith("screen") ? `${userId}-screen` : userId);
      const member = this.#members.get(userId);
      if (!wanted() || !member?.peer) return media.dismiss(consumer);
      const former = member.peer.consumer(kind);
      if (former) media.dismiss(former);
      const layers = Number.isInteger(appData?.layers) ? Math.min(Math.max(appData.layers, 1), 4) : 1;
      member.peer.add(kind, consumer, layers);
      for (const change of ["mute", "unmute"]) consumer.track.addEventListener(change, () => wanted() && this.tell("stream", member));
      this.tell("stream", member);
      await this.#ask("consumer:resume", { consumerId: consumer.id });
    } catch (error) {
      // The producer may have ended during the request.
      if (wanted()) this.#recover(/** @type {SignalingError} */ (error));
    }
  }

  /** @param {string} consumerId */
  #sourceOf(consumerId) {
    return [...this.#sources.values()].find((source) => this.#members.get(source.userId)?.peer?.consumer(kindOf(source))?.id === consumerId);
  }

  /** @param {string} producerId @param {boolean} paused */
  #pause(producerId, paused) {
    const source = this.#sources.get(producerId);
    if (!source) return;
    source.paused = paused;
    this.#updateSources(source.userId);
  }

  /** @param {string | undefined} producerId */
  #forget(producerId) {
    const source = this.#sources.get(producerId ?? "");
    if (!source) return;
    this.#sources.delete(source.producerId);
    const member = this.#members.get(source.userId);
    const kind = kindOf(source);
    if (member?.peer?.consumer(kind)?.producerId === source.producerId) member.peer.remove(kind);
    this.#updateSources(source.userId);
  }

  /** @param {Source | undefined} source @param {number} spatialLayer */
  #showLayer(source, spatialLayer) {
    const member = source && this.#members.get(source.userId);
    if (!member?.peer?.layers) return;
    member.peer.layers.current = spatialLayer;
    this.tell("changed", member);
  }

  /** The sources of a member have changed. @param {string} userId */
  #updateSources(userId) {
    const kinds = [...this.#sources.values()].filter((source) => source.userId === userId && !source.paused).map(kindOf);
    const sends = { audio: kinds.includes("audio"), video: kinds.includes("video"), screen: kinds.includes("screen") };
    this.#update(userId, { sends });
  }

  /** @param {User} user */
  #admit(user) {
    const name = cleanName(user.name);
    const isHere = !!user.media;
    const known = this.#members.get(user.userId);
    if (known) {
      if (known.elsewhere === isHere) known.peer = this.#peer(isHere);
      return this.#update(known.id, { away: false, elsewhere: !isHere, ...(name && { name }) });
    }
    const member = {
      id: user.userId,
      name: name || `Guest ${user.userId.slice(-4)}`,
      elsewhere: !isHere,
      peer: this.#peer(isHere),
      away: false,
      sends: isHere ? { audio: false, video: false, screen: false } : null,
    };
    this.#members.set(member.id, member);
    this.tell("joined", member);
  }

  /** @param {boolean} isHere */
  #peer(isHere) {
    return isHere ? new SfuPeer(() => this.#media?.state ?? "new") : null;
  }

  /** @param {string} id @param {Partial<SfuMember>} change */
  #update(id, change) {
    const member = this.#members.get(id);
    if (!member) return;
    Object.assign(member, change);
    this.tell("changed", member);
  }

  /** @param {SfuMember} member @param {string} reason */
  #remove(member, reason) {
    this.#members.delete(member.id);
    for (const source of [...this.#sources.values()]) if (source.userId === member.id) this.#sources.delete(source.producerId);
    member.peer?.clear();
    this.tell("left", { ...member, reason });
  }

  /** The media cannot be created. @param {SignalingError} error */
  #reportError(error) {
    // In a cluster, the room may be about to move to another media server.
    const passes = error.code === "TRANSPORT_ERROR" && error.retryAfterMs;
    if (passes || error.code === "OFFLINE" || error.code === "TIMEOUT") this.#rebuild();
    else this.tell("failed", error);
  }

  /** A track cannot be sent or received. @param {SignalingError} error */
  #recover(error) {
    // The transport has ended, which `transport:failed` reports at the same time.
    if (error.code === "TRANSPORT_ERROR") this.#rebuild();
    else this.#reportError(error);
  }

  /**
   * Sends a request once the client is online. Fails with `OFFLINE` if the connection is lost during a request that must not be repeated.
   * @param {string} type
   * @param {object} [payload]
   * @returns {Promise<any>}
   */
  async #ask(type, payload) {
    for (let attempt = 1; ; attempt++) {
      while (!this.#signaling.online) await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
      try {
        return await this.#signaling.ask(type, payload);
      } catch (given) {
        const error = /** @type {SignalingError} */ (given);
        const pause = error.code === "OFFLINE" && REPEATABLE.has(type) ? 0 : error.code === "RATE_LIMITED" ? (error.retryAfterMs ?? RETRY_MS) : null;
        if (pause === null || attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause * (1 + Math.random())));
      }
    }
  }

  #resumeRequests() {
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** The kind of a track, from the announcement of its sender. @param {Source} source @returns {import("./peer.js").Kind} */
function kindOf({ kind, appData }) {
  if (appData?.source === "screen" && kind === "video") return "screen";
  return appData?.source === "screen-audio" && kind === "audio" ? "screenAudio" : kind;
}
