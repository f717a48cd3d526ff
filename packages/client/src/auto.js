/**
 * A call that chooses its mode: a {@link Mesh} while it is small, and the media server, {@link Sfu}, from {@link SFU_FROM} people on. All
 * members of a room use the same mode.
 *
 * - the member that has been in the room longest, of those that can use both, announces the mode in its metadata. The others follow, and
 *   members that join find it in the list
 * - a room with a member that has not announced that it can use the media server stays a mesh
 * - the room returns to a mesh only when a member asks for it, by the application message {@link MODE_TOPIC}
 * - a change has no gap: the former connections are closed once media has arrived over the new ones
 *
 * Only the envelope protocol reaches the media server; over the others this is a mesh. This module does not use the DOM.
 *
 * @module auto
 */
import { Emitter } from "./emitter.js";
import { Mesh, NO_TRACKS } from "./mesh.js";
import { Sfu } from "./sfu.js";

/** @typedef {"mesh" | "sfu"} RoomMode */
/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./mesh.js").Member} MeshMember */
/** @typedef {import("./sfu.js").SfuMember} SfuMember */
/** @typedef {MeshMember | SfuMember} AutoMember */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */

/** Number of people from which a call uses the media server: in a mesh each member sends a copy to each other member. */
export const SFU_FROM = 5;

/** Name of the application message by which a member asks for a mode: `{ mode }`. */
export const MODE_TOPIC = "media-mode";

/** How long the former connections remain after everything arrives over the new ones: other members may not be as far, in milliseconds. */
const OVERLAP_MS = 5000;
/** Maximum duration of a change in milliseconds: a member may have nothing to send. */
const OVERLAP_LIMIT_MS = 20_000;
const CHECK_MS = 400;

/** Error codes after which the media server is not used any more. */
const UNAVAILABLE = new Set(["TRANSPORT_ERROR", "NO_BUNDLE"]);

/**
 * The events of an {@link AutoCall}: those of {@link Mesh} and {@link Sfu}, and `mode`, the new mode of the room.
 * @typedef {{
 *   "joined": AutoMember, "changed": AutoMember, "stream": AutoMember, "left": AutoMember & { reason: string },
 *   "chat": { member: MeshMember, text: string }, "speaker": { id: string, level: number }, "failed": SignalingError, "mode": RoomMode,
 * }} AutoEvents
 */

/**
 * @typedef {object} AutoOptions
 * @property {import("./signaling.js").Signaling} signaling for the media server an `EnvelopeSignaling` with `media: "auto"` in its metadata
 * @property {string} [name] sent to peers whose protocol carries no names
 * @property {RTCIceServer[]} [iceServers] of a mesh, used instead of the server's
 * @property {() => import("./sfu.js").DeviceClass | Promise<import("./sfu.js").DeviceClass>} [loadDevice] returns `Device` of
 *   mediasoup-client; without it, this client cannot use the media server
 * @property {RoomMode} [wanted] the mode of a room that this client is the first to enter; by default, as the number of people requires
 */

/** @extends {Emitter<AutoEvents>} */
export class AutoCall extends Emitter {
  #signaling;
  #options;
  #loadDevice;
  /** @type {Mesh | Sfu | null} */
  #current = null;
  /** During a change. @type {Mesh | Sfu | null} */
  #former = null;
  /** @type {RoomMode | null} */
  #mode = null;
  /** Whether a member has chosen the mode, so that it does not change by itself. */
  #asked;
  /** The other people in the room, in the order of joining. @type {Map<string, User>} */
  #users = new Map();
  /** Those that were in the room before this client. @type {Set<string>} */
  #earlier = new Set();
  /** @type {import("./signaling.js").SignalingEvents["room-users"]} */
  #room = { users: [] };
  #tracks = NO_TRACKS;
  /** @type {Partial<import("./mesh.js").Sends>} */
  #sends = {};
  /** The members that were reported. @type {Set<string>} */
  #reported = new Set();
  /** During a change: the members whose media arrives over the new connections. @type {Set<string>} */
  #ready = new Set();
  #abort = new AbortController();

  /** @param {AutoOptions} options create it before joining, so that no event of the room is missed */
  constructor(options) {
    super();
    this.#options = options;
    this.#signaling = options.signaling;
    this.#loadDevice = options.loadDevice;
    this.#asked = !!options.wanted;
    this.#listen();
  }

  /** The mode of the room; null before the join. */
  get mode() {
    return this.#mode;
  }

  /** Whether this client can use the media server. */
  get canUseSfu() {
    return !!this.#loadDevice;
  }

  /** The other people that can use a mesh only. @returns {User[]} */
  get meshOnly() {
    return [...this.#users.values()].filter(({ media }) => !media);
  }

  /** The members of the call. @returns {Map<string, AutoMember>} a copy */
  get members() {
    const members = /** @type {Map<string, AutoMember>} */ (this.#current?.members ?? new Map());
    for (const id of members.keys()) {
      const before = this.#former?.members.get(id);
      if (before && !this.#ready.has(id)) members.set(id, before);
    }
    return members;
  }

  /**
   * Sets the tracks that all members receive.
   * @param {Partial<import("./mesh.js").Tracks>} tracks a kind that is missing is no longer sent
   * @param {Partial<import("./mesh.js").Sends>} [sends] what to announce; by default, the given tracks
   */
  send(tracks, sends = {}) {
    this.#tracks = { ...NO_TRACKS, ...tracks };
    this.#sends = sends;
    for (const call of [this.#current, this.#former]) call?.send(tracks, sends);
  }

  /** Asks all members to change to a mode. @param {RoomMode} mode */
  async ask(mode) {
    if (this.#leader) await this.#signaling.message(MODE_TOPIC, { mode });
    else this.#decide(mode);
  }

  /** Sends a message over the data channels of a mesh. See {@link Mesh#chat}. @param {string} text @returns {number} number of recipients */
  chat(text) {
    return this.#current instanceof Mesh ? this.#current.chat(text) : 0;
  }

  /** See {@link Sfu#preferLayer}. @param {string} id @param {number} spatialLayer */
  async preferLayer(id, spatialLayer) {
    if (this.#current instanceof Sfu) await this.#current.preferLayer(id, spatialLayer);
  }

  /** Closes all connections. The signaling is unaffected. */
  close() {
    this.#abort.abort();
    this.#former?.close();
    this.#current?.close();
    this.#former = this.#current = null;
    this.#users.clear();
  }

  #listen() {
    /**
     * @template {keyof import("./signaling.js").SignalingEvents} Name
     * @param {Name} name
     * @param {(detail: import("./signaling.js").SignalingEvents[Name]) => void} handle
     */
    const on = (name, handle) =>
      this.#signaling.addEventListener(name, ({ detail }) => handle(detail), { signal: this.#abort.signal });
    on("room-users", (room) => {
      this.#room = room;
      this.#users = new Map(room.users.map((user) => [user.userId, user]));
      this.#earlier = new Set(this.#users.keys());
      this.#agree();
    });
    on("user-joined", (user) => {
      this.#earlier.delete(user.userId);
      this.#users.delete(user.userId);
      this.#users.set(user.userId, user);
      this.#agree();
    });
    on("user-left", ({ userId }) => {
      this.#earlier.delete(userId);
      this.#users.delete(userId);
      this.#agree();
    });
    on("user-updated", (user) => {
      this.#users.set(user.userId, user);
      this.#agree();
    });
    on("online", ({ recovered }) => {
      // An announcement may have been lost with the connection.
      if (recovered && this.canUseSfu && !this.#leader) this.#send({ mode: this.#mode, asked: this.#asked });
    });
    on("application", ({ topic, data }) => {
      const mode = data?.mode;
      if (topic === MODE_TOPIC && (mode === "mesh" || mode === "sfu") && !this.#leader && this.canUseSfu) this.#decide(mode);
    });
  }

  /** The member that announces the mode, unless it is this client. @returns {User | undefined} */
  get #leader() {
    return [...this.#users.values()].find(({ userId, media }) => media === "auto" && this.#earlier.has(userId));
  }

  /** The mode that fits the people in the room. @returns {RoomMode} */
  get #suitable() {
    return this.#users.size + 1 >= SFU_FROM && !this.meshOnly.length ? "sfu" : "mesh";
  }

  /** Follows the mode of the room or, as its leader, decides it. */
  #agree() {
    if (!this.canUseSfu) return this.#use("mesh");
    const leader = this.#leader;
    if (leader?.mode) {
      this.#asked = !!leader.asked;
      this.#use(leader.mode);
    } else if (leader) {
      // Its announcement is in transit.
      if (!this.#mode) this.#use(this.#suitable);
    } else if (!this.#mode && this.#options.wanted && !this.meshOnly.length) {
      this.#decide(this.#options.wanted);
    } else {
      this.#asked &&= !!this.#mode;
      const isKept = this.#mode === "sfu" || this.#asked;
      this.#announce(isKept && this.#mode ? this.#mode : this.#suitable);
    }
  }

  /** Decides the mode at the request of a member. @param {RoomMode} mode */
  #decide(mode) {
    this.#asked = true;
    this.#announce(mode);
  }

  /** @param {RoomMode} mode */
  #announce(mode) {
    const before = this.#envelope.metadata;
    if (before?.mode !== mode || before.asked !== this.#asked) this.#send({ mode, asked: this.#asked });
    this.#use(mode);
  }

  /** Changes the metadata of this client. A failed update is part of the rejoin. @param {Record<string, unknown>} metadata */
  #send(metadata) {
    this.#envelope.update(metadata).catch(() => {});
  }

  get #envelope() {
    return /** @type {import("./signaling-envelope.js").EnvelopeSignaling} */ (this.#signaling);
  }

  /** @param {RoomMode} mode */
  #use(mode) {
    if (mode === this.#mode) return;
    this.#endFormer();
    this.#mode = mode;
    this.#former = this.#current;
    // Of two members, the one that joined later calls, as after a join.
    const calls = (/** @type {User} */ user) => this.#earlier.has(user.userId) || !user.media;
    const users = [...this.#users.values()].map((user) => (calls(user) ? user : { ...user, calling: true }));
    const present = { ...this.#room, users };
    const { signaling, name, iceServers } = this.#options;
    const call = mode === "sfu" && this.#loadDevice
      ? new Sfu({ signaling: this.#envelope, loadDevice: this.#loadDevice, present })
      : new Mesh({ signaling, name, iceServers, present });
    this.#current = call;
    this.#relay(call);
    call.send(this.#tracks, this.#sends);
    if (this.#former) this.#overlap();
    this.tell("mode", mode);
  }

  /** @param {Mesh | Sfu} call */
  #relay(call) {
    const isCurrent = () => this.#current === call;
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ handle) =>
      EventTarget.prototype.addEventListener.call(call, name, (event) => handle(/** @type {CustomEvent} */ (event).detail));
    for (const name of /** @type {const} */ (["joined", "changed", "stream"])) on(name, ({ id }) => this.#report(name, id));
    on("left", (member) => {
      if (isCurrent() && this.#reported.delete(member.id)) this.tell("left", member);
    });
    on("chat", (detail) => isCurrent() && this.tell("chat", detail));
    on("speaker", (detail) => isCurrent() && this.tell("speaker", detail));
    on("failed", (error) => isCurrent() && this.#fail(error));
  }

  /** @param {"joined" | "changed" | "stream"} name @param {string} id */
  #report(name, id) {
    const member = this.members.get(id);
    if (!member) return;
    const isNew = !this.#reported.has(id);
    this.#reported.add(id);
    this.tell(isNew ? "joined" : name === "joined" ? "changed" : name, member);
  }

  /** @param {SignalingError} error */
  #fail(error) {
    this.tell("failed", error);
    if (!UNAVAILABLE.has(error.code)) return;
    this.#loadDevice = undefined;
    this.#send({ media: null, mode: null });
    this.#use("mesh");
  }

  /** Ends the former connections when they are no longer needed. */
  async #overlap() {
    const former = this.#former;
    this.#ready.clear();
    const began = performance.now();
    let completeSince = Infinity;
    const isOver = () => this.#former !== former || !former;
    while (!isOver()) {
      await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
      const members = /** @type {Map<string, AutoMember>} */ (this.#current?.members ?? new Map());
      for (const [id, member] of members) {
        const before = former?.members.get(id);
        const isNew = !this.#ready.has(id) && (!before || (await isComplete(member, before).catch(() => false)));
        if (isOver()) return;
        if (!isNew) continue;
        this.#ready.add(id);
        this.#report("changed", id);
      }
      const now = performance.now();
      const isReady = [...members.keys()].every((id) => this.#ready.has(id));
      completeSince = isReady ? Math.min(completeSince, now) : Infinity;
      if (now - completeSince > OVERLAP_MS || now - began > OVERLAP_LIMIT_MS) this.#endFormer();
    }
  }

  #endFormer() {
    const former = this.#former;
    this.#former = null;
    if (!former) return;
    const members = former.members;
    former.close();
    for (const id of this.members.keys()) this.#report("changed", id);
    // Members that the server no longer lists, and that only their connection has kept.
    for (const [id, member] of members) {
      if (!this.#current?.members.has(id) && this.#reported.delete(id)) this.tell("left", { ...member, reason: "timeout" });
    }
  }
}

/**
 * Whether everything that a member was received by before arrives over its new connection.
 * @param {AutoMember} now
 * @param {AutoMember} before
 */
async function isComplete(now, before) {
  if (before.peer?.state !== "connected") return true;
  if (now.peer?.state !== "connected") return false;
  const [has, had] = await Promise.all([arrivals(now.peer), arrivals(before.peer)]);
  const { audio, video, screen } = before.sends ?? { audio: true, video: true, screen: false };
  // A medium that was announced as off may still be counted.
  const wanted = { audio: Math.min(had.audio, Number(audio)), video: Math.min(had.video, Number(video) + Number(screen)) };
  return has.audio >= wanted.audio && has.video >= wanted.video;
}

/** Counts the tracks that arrive. @param {import("./peer.js").Peer | import("./sfu-peer.js").SfuPeer} peer */
async function arrivals(peer) {
  const report = await ("connection" in peer ? peer.connection : peer).getStats();
  const inbound = [.../** @type {any} */ (report).values()].filter(({ type }) => type === "inbound-rtp");
  return {
    audio: inbound.filter(({ kind, packetsReceived }) => kind === "audio" && packetsReceived > 0).length,
    video: inbound.filter(({ kind, framesDecoded }) => kind === "video" && framesDecoded > 0).length,
  };
}
