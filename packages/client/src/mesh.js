/**
 * A mesh call: all peers in the room, and one {@link Peer} for each. Connects signaling to the peer connections.
 *
 * - a joining peer sends an offer to each peer in `room-users`; the others receive `user-joined` and wait for that offer
 * - a signal carries a `link`, which names the RTCPeerConnection at each end. It distinguishes a reloaded page, which needs a new
 *   connection, from a peer that lost only its connection to the server. Protocols that do not carry it rely on the certificate's
 *   fingerprint in the description
 * - media does not need the server. A member that is away has lost its connection to the server and may resume: it remains a member,
 *   whatever the state of its peer connection. A member that has left the room remains until its peer connection ends
 *
 * @module mesh
 */
import { Emitter } from "./emitter.js";
import { cleanName } from "./name.js";
import { Peer } from "./peer.js";

/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** @typedef {import("./signaling.js").Link} Link */
/** @typedef {Record<import("./peer.js").Kind, MediaStreamTrack | null>} Tracks */

/** The media that a member announces. @typedef {{ audio: boolean, video: boolean, screen: boolean }} Sends */

/** @type {Tracks} */
export const NO_TRACKS = Object.freeze({ audio: null, video: null, screen: null, screenAudio: null });

/** Delay in milliseconds before a refused signal is repeated. */
const RETRY_MS = 1500;

/** Error codes after which a signal is not repeated: the room is joined again, the target has left, or the call has ended. */
const NOT_REPEATED = new Set(["OFFLINE", "TARGET_NOT_FOUND", "ROOM_CLOSED", "HUNG_UP"]);

/**
 * A member of the call.
 * @typedef {object} Member
 * @property {string} id the `userId`
 * @property {string} name
 * @property {Peer | null} peer null until the first offer
 * @property {boolean} away lost its connection to the server and may resume; media may still flow
 * @property {boolean} listed in the room, according to the server
 * @property {Sends | null} sends null: not announced
 * @property {boolean} unnamed the server reports no name, so the peer may send one
 * @property {boolean} anonymous the server does not report presence: only the peer connection shows it
 * @property {boolean} [elsewhere] in the room, but not in the mesh: uses the media server, and there is no connection
 * @property {boolean} expected called, without any response so far; not shown
 */

/**
 * The events of a {@link Mesh}. `changed`: the connection's state, the name, `away` or `sends` has changed; `stream`: the tracks of
 * `peer.stream` have changed.
 * @typedef {{
 *   "joined": Member,
 *   "changed": Member,
 *   "stream": Member,
 *   "left": Member & { reason: string },
 *   "chat": { member: Member, text: string },
 * }} MeshEvents
 */

/**
 * @typedef {object} MeshOptions
 * @property {import("./signaling.js").Signaling} signaling over any protocol
 * @property {string} [name] sent to peers whose protocol carries no names
 * @property {RTCIceServer[]} [iceServers] used instead of the server's
 * @property {import("./signaling.js").SignalingEvents["room-users"]} [present] the room, if it was joined before
 */

/** @extends {Emitter<MeshEvents>} */
export class Mesh extends Emitter {
  #signaling;
  #name;
  /** Including expected members. @type {Map<string, Member>} */
  #members = new Map();
  /** The last `userId` of this page, if the server assigns it. @type {string | undefined} */
  #selfId;
  /** The stream that synchronizes audio and video at the receivers. */
  #outgoing = new MediaStream();
  #tracks = NO_TRACKS;
  /** @type {Sends} */
  #sends = { audio: false, video: false, screen: false };
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;
  #fixedIceServers;
  /** @type {Set<Peer>} peers whose lost signals are going to be repeated */
  #repairing = new Set();
  #abort = new AbortController();

  /** @param {MeshOptions} options create the mesh before joining, so that no event of the room is missed */
  constructor({ signaling, name, iceServers, present }) {
    super();
    this.#signaling = signaling;
    this.#name = name;
    this.#fixedIceServers = iceServers;
    this.#listen();
    // Later, so that the owner can listen as well.
    if (present) queueMicrotask(() => this.#enter(present));
  }

  /** The members of the call. @returns {Map<string, Member>} a copy */
  get members() {
    return new Map([...this.#members].filter(([, member]) => !member.expected));
  }

  /**
   * Sets the tracks that all members receive.
   * @param {Partial<Tracks>} tracks a kind that is missing is no longer sent
   * @param {Partial<Sends>} [sends] what to announce; by default, the given tracks
   */
  send(tracks, sends = {}) {
    this.#tracks = { ...NO_TRACKS, ...tracks };
    const { audio, video, screen } = this.#tracks;
    this.#sends = { audio: !!audio, video: !!video, screen: !!screen, ...sends };
    for (const { peer } of this.#members.values()) {
      if (!peer) continue;
      this.#fill(peer);
      peer.send({ type: "sends", ...this.#sends });
    }
  }

  /**
   * Sends a message over the data channels, for members that the server does not reach; otherwise use {@link Signaling#message}.
   * @param {string} text
   * @returns {number} number of recipients
   */
  chat(text) {
    return [...this.members.values()].filter(({ peer }) => peer?.send({ type: "chat", text })).length;
  }

  /** Closes all peer connections. The signaling is unaffected. */
  close() {
    this.#abort.abort();
    for (const member of this.#members.values()) member.peer?.close();
    this.#members.clear();
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
    on("online", ({ recovered }) => {
      // Otherwise `room-users` has arrived. Pending signals have been sent; broken connections are restarted here.
      if (recovered) for (const { peer } of this.#members.values()) peer?.resume();
    });
    on("user-joined", (user) => this.#admit(user).peer?.resume());
    on("user-back", (user) => this.#admit(user).peer?.resume());
    on("user-away", ({ userId }) => this.#update(userId, { away: true }));
    on("user-left", ({ userId, reason }) => {
      const member = this.#members.get(userId);
      if (member) this.#lose(member, reason ?? "disconnected");
    });

    on("offer", ({ from, user, offer, link }) => this.#receiveOffer(user ? this.#admit(user) : this.#members.get(from), offer, link));
    on("answer", ({ from, answer, link }) =>
      this.#deliver(from, link, (peer, member) => {
        // An answer from a reloaded page, to an offer that was meant for the page before the reload.
        if (!link && peer.isStranger(answer)) return this.#connect(member).call();
        return peer.receiveDescription(answer);
      }));
    on("ice-candidate", ({ from, candidate, link }) => this.#deliver(from, link, (peer) => peer.receiveCandidate(candidate)));
  }

  /** The room is joined, perhaps again. @param {import("./signaling.js").SignalingEvents["room-users"]} room */
  #enter({ users, iceServers, userId }) {
    if (this.#abort.signal.aborted) return;
    this.#iceServers = this.#fixedIceServers ?? iceServers;
    // The other members know this page by a new id, and drop the connections to the old one.
    const renamed = !!this.#selfId && this.#selfId !== userId;
    this.#selfId = userId;
    const listed = new Set(users.map((user) => user.userId));
    // After a restart of the server the list is empty at first, and the other peers rejoin.
    for (const member of this.#members.values()) if (!listed.has(member.id)) this.#lose(member, "timeout");
    for (const user of users) {
      const member = this.#admit(user);
      if (member.peer && !renamed) member.peer.resume(this.#iceServers);
      else if (!user.calling && !member.elsewhere) this.#connect(member).call();
    }
  }

  /**
   * A peer is listed: it is new, still present, or back. In protocols without a list, it is expected or calls.
   * @param {User} user
   */
  #admit(user) {
    const known = this.#members.get(user.userId);
    const name = cleanName(user.name);
    if (known) {
      if (!user.expected) this.#meet(known);
      // Some events name a peer without its metadata.
      known.elsewhere ||= user.media === "sfu";
      if (known.elsewhere) known.peer = known.peer?.close() ?? null;
      this.#update(user.userId, { away: false, listed: true, ...(name && { name }) });
      return known;
    }
    const anonymous = !!user.anonymous;
    /** @type {Member} */
    const member = {
      id: user.userId,
      name: name || (anonymous ? "Guest" : `Guest ${user.userId.slice(-4)}`),
      peer: null,
      away: false,
      listed: true,
      sends: null,
      unnamed: !name,
      anonymous,
      elsewhere: user.media === "sfu",
      expected: !!user.expected,
    };
    this.#members.set(member.id, member);
    if (!member.expected) this.tell("joined", member);
    this.#spread();
    return member;
  }

  /** A signal or message of a member has arrived. @param {Member} member */
  #meet(member) {
    if (!member.expected) return;
    member.expected = false;
    this.tell("joined", member);
  }

  /** @param {string} id @param {Partial<Member>} change */
  #update(id, change) {
    const member = this.#members.get(id);
    if (!member) return;
    Object.assign(member, change);
    this.#changed(member);
  }

  /** @param {Member} member */
  #changed(member) {
    if (!member.expected) this.tell("changed", member);
  }

  /**
   * A member has left the room. If it left by itself, it is removed; if it lost the server, it remains while its peer connection lives.
   * @param {Member} member
   * @param {string} reason
   */
  #lose(member, reason) {
    const isFinal = reason === "left" || reason === "kicked" || reason === "closed";
    if (!isFinal && member.peer?.alive) this.#update(member.id, { away: true, listed: false });
    else this.#remove(member, reason);
  }

  /** @param {Member} member @param {string} reason */
  #remove(member, reason) {
    if (this.#members.get(member.id) !== member) return;
    this.#members.delete(member.id);
    member.peer?.close();
    if (!member.expected) this.tell("left", { ...member, reason });
    this.#spread();
  }

  /** Creates a new connection to a member, and replaces the former one. @param {Member} member */
  #connect(member) {
    member.peer?.close();
    const peer = new Peer({
      iceServers: this.#iceServers,
      renewIceServers: this.#fixedIceServers ? undefined : () => this.#signaling.iceServers(),
      outgoing: this.#outgoing,
    });
    member.peer = peer;
    member.sends = null;
    this.#fill(peer);
    this.#spread();

    const current = () => member.peer === peer && this.#members.get(member.id) === member;
    /**
     * @template {keyof import("./peer.js").PeerEvents} Name
     * @param {Name} name
     * @param {(detail: import("./peer.js").PeerEvents[Name]) => unknown} handle
     */
    const on = (name, handle) => peer.addEventListener(name, ({ detail }) => current() && handle(detail));
    const link = () => ({ link: { from: peer.id, to: peer.remoteId } });
    on("description", (description) => {
      const sent =
        description.type === "offer"
          ? this.#signaling.offer(member.id, description.toJSON(), link())
          : this.#signaling.answer(member.id, description.toJSON(), link());
      sent.catch((error) => this.#repair(peer, error));
    });
    on("candidate", (candidate) => {
      this.#signaling.candidate(member.id, candidate, link()).catch((error) => this.#repair(peer, error));
    });
    on("state", (state) => {
      // Neither listed nor connected: remove the member.
      if (!member.listed && (state === "failed" || state === "disconnected")) this.#remove(member, "timeout");
      else this.#changed(member);
    });
    on("closed", () => {
      // The other page has closed the connection. Whether the peer is still present is decided by the server's list, if it is listed.
      if (member.away || member.anonymous) this.#remove(member, "left");
    });
    on("stream", () => this.tell("stream", member));
    on("open", () => {
      if (this.#name) peer.send({ type: "name", name: this.#name });
      peer.send({ type: "sends", ...this.#sends });
    });
    on("message", (message) => this.#receiveMessage(member, message));
    return peer;
  }

  /**
   * @param {Member | undefined} member
   * @param {RTCSessionDescriptionInit} offer
   * @param {Link | undefined} link missing if the peer runs another client or uses another protocol
   */
  async #receiveOffer(member, offer, link) {
    if (!member) return;
    this.#meet(member);
    const { peer } = member;
    if (link?.to && link.to !== peer?.id) {
      // The peer continues a connection that this side has closed, so a new one is needed. Its offer may be on its way already.
      if (!peer?.calling) this.#connect(member).call();
      return;
    }
    // The peer has started a new connection, most likely after a reload.
    const stale = !peer || (link ? peer.remoteId && peer.remoteId !== link.from : peer.isStranger(offer));
    const receiver = stale ? this.#connect(member) : peer;
    receiver.remoteId = link?.from ?? null;
    try {
      await receiver.receiveDescription(offer);
    } catch (error) {
      console.warn("an offer could not be taken", error);
    }
  }

  /**
   * Handles answers and candidates, which belong to one connection.
   * @param {string} from
   * @param {Link | undefined} link
   * @param {(peer: Peer, member: Member) => unknown} handle
   */
  async #deliver(from, link, handle) {
    const member = this.#members.get(from);
    const peer = member?.peer;
    if (!peer) return;
    if (link && (link.to ? link.to !== peer.id : link.from !== peer.remoteId)) return;
    if (link) peer.remoteId = link.from;
    this.#meet(member);
    try {
      await handle(peer, member);
    } catch (error) {
      console.warn("a signal could not be taken", error);
    }
  }

  /** @param {Member} member @param {any} message */
  #receiveMessage(member, message) {
    if (message?.type === "chat" && typeof message.text === "string") {
      this.tell("chat", { member, text: message.text });
    } else if (message?.type === "name" && typeof message.name === "string") {
      const name = cleanName(message.name);
      if (member.unnamed && name) this.#update(member.id, { name });
    } else if (message?.type === "sends") {
      const { audio, video, screen } = message;
      this.#update(member.id, { sends: { audio: !!audio, video: !!video, screen: !!screen } });
    }
  }

  /**
   * A signal was not delivered. After a reconnection the room is joined again; for a peer that has left, nothing is repeated.
   * @param {Peer} peer
   * @param {SignalingError} error
   */
  #repair(peer, error) {
    if (NOT_REPEATED.has(error.code) || this.#repairing.has(peer)) return;
    console.warn("a signal was refused", error.code, error.message);
    this.#repairing.add(peer);
    setTimeout(() => {
      this.#repairing.delete(peer);
      if (peer.state !== "closed") peer.resume();
    }, error.retryAfterMs ?? RETRY_MS);
  }

  /** @param {Peer} peer */
  #fill(peer) {
    for (const kind of /** @type {const} */ (["audio", "video", "screen", "screenAudio"])) {
      peer.setTrack(kind, this.#tracks[kind]).catch((error) => console.warn("a track could not be sent", error));
    }
  }

  /** In a mesh every camera is encoded and sent once per member, so its resolution shrinks with their number. */
  #spread() {
    const count = this.#members.size;
    const scale = count < 2 ? 1 : count < 4 ? 2 : 3;
    for (const { peer } of this.#members.values()) peer?.setVideoScale(scale);
  }
}
