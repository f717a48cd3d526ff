/**
 * A mesh call: everybody in the room, and one {@link Peer} to each. This is where the wire and the connections meet.
 *
 * - the newcomer offers to everyone in `room-users`; those who were there wait for that offer after `user-joined`
 * - a signal carries a `link`, naming the RTCPeerConnection at each end, so that a page that was reloaded is not mistaken for the
 *   connection its predecessor had, and one that only lost the server goes on as it was. Where a wire, or the way from one wire to
 *   another, does not carry it, the certificate's fingerprint in the description tells the same, a moment later
 * - media does not need the server. Who is away has lost it, and the server keeps their place: they stay, whatever becomes of the
 *   connection to them meanwhile. Who is off the list stays as long as that connection lives
 *
 * No DOM.
 *
 * @module mesh
 */
import { Emitter } from "./emitter.js";
import { Peer } from "./peer.js";

/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** @typedef {import("./signaling.js").Link} Link */
/** @typedef {Record<import("./peer.js").Kind, MediaStreamTrack | null>} Tracks */

/**
 * What someone says they send.
 * @typedef {{ audio: boolean, video: boolean, screen: boolean }} Sends
 */

/** How long to wait before a signal that the server refused is made up for. */
const RETRY_MS = 1500;

/** Refusals after which there is nothing to make up for: a re-join does, or whoever it was for is gone, or the call is over. */
const BESIDE_THE_POINT = new Set(["OFFLINE", "TARGET_NOT_FOUND", "ROOM_CLOSED", "HUNG_UP"]);

/** Longest name taken from someone whom the server does not name, in characters; the lobby's own limit. */
const NAME_LIMIT = 40;

/**
 * Someone in the call.
 * @typedef {object} Member
 * @property {string} id the `userId`
 * @property {string} name
 * @property {Peer | null} peer null until the first offer
 * @property {boolean} away lost the server, may come back; media may well flow
 * @property {boolean} listed in the room, as far as the server knows
 * @property {Sends | null} sends null: has not said
 * @property {boolean} unnamed the server knows no name of theirs, so they may say it themselves
 * @property {boolean} anonymous the server does not even say whether they are here: the connection to them is all there is
 * @property {boolean} [elsewhere] in the room, and in no mesh: their media goes through the media server, and there is no connection to them
 * @property {boolean} expected called, and not heard of yet; such a one is not shown
 */

/**
 * The events of a {@link Mesh}. `changed`: the state of the connection, the name, whether they are away, what they send; `stream`: the
 * tracks in `peer.stream`.
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
 * @property {import("./signaling.js").Signaling} signaling any of the wires
 * @property {string} [name] told to those to whom the server names nobody
 * @property {RTCIceServer[]} [iceServers] in place of those the server names
 */

/** @extends {Emitter<MeshEvents>} */
export class Mesh extends Emitter {
  #signaling;
  #name;
  /** With those who are only expected. @type {Map<string, Member>} */
  #members = new Map();
  /** What the others last knew this page by, on a wire where the server chooses. @type {string | undefined} */
  #selfId;
  /** Ties our sound and picture together on the other side. */
  #outgoing = new MediaStream();
  /** @type {Tracks} */
  #tracks = { audio: null, video: null };
  /** @type {Sends} */
  #sends = { audio: false, video: false, screen: false };
  /** @type {RTCIceServer[] | undefined} */
  #iceServers;
  #fixedIceServers;
  /** @type {Set<Peer>} whose lost signals are about to be made up for */
  #makingUp = new Set();
  #abort = new AbortController();

  /** @param {MeshOptions} options made before joining, so that no event of the room is missed */
  constructor({ signaling, name, iceServers }) {
    super();
    this.#signaling = signaling;
    this.#name = name;
    this.#fixedIceServers = iceServers;
    this.#listen();
  }

  /** Who is in the call. @returns {Map<string, Member>} a copy */
  get members() {
    return new Map([...this.#members].filter(([, member]) => !member.expected));
  }

  /**
   * What everybody gets from now on.
   * @param {Partial<Tracks>} tracks a kind that is left out is sent no more
   * @param {Partial<Sends>} [sends] what to say of them; by default, that what is there is sent, and is no screen
   */
  send({ audio = null, video = null }, sends = {}) {
    this.#tracks = { audio, video };
    this.#sends = { audio: !!audio, video: !!video, screen: false, ...sends };
    for (const { peer } of this.#members.values()) {
      if (!peer) continue;
      this.#fill(peer);
      peer.send({ type: "sends", ...this.#sends });
    }
    this.#spread();
  }

  /**
   * @param {string} text
   * @returns {number} how many will read it
   */
  chat(text) {
    return [...this.members.values()].filter(({ peer }) => peer?.send({ type: "chat", text })).length;
  }

  /** Ends every connection. The signaling is left alone. */
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

    on("room-users", ({ users, iceServers, userId }) => {
      this.#iceServers = this.#fixedIceServers ?? iceServers;
      // Someone new to the others, who know nothing of the connections there were under the old id.
      const renamed = !!this.#selfId && this.#selfId !== userId;
      this.#selfId = userId;
      const listed = new Set(users.map((user) => user.userId));
      for (const member of [...this.#members.values()]) {
        if (listed.has(member.id)) continue;
        // After a restart of the server the list begins empty, and the others are about to come back to it.
        this.#lose(member, "timeout");
      }
      for (const user of users) {
        const member = this.#admit(user);
        if (member.peer && !renamed) member.peer.resume(this.#iceServers);
        else if (!user.calling && !member.elsewhere) this.#connect(member).call();
      }
    });

    on("online", ({ recovered }) => {
      // Else `room-users` has come. What was to be said meanwhile has just been said; what broke meanwhile is for us to mend.
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
        // It was given by a page that was reloaded, to an offer meant for its predecessor.
        if (!link && peer.isStranger(answer)) return this.#connect(member).call();
        return peer.receiveDescription(answer);
      }));
    on("ice-candidate", ({ from, candidate, link }) => this.#deliver(from, link, (peer) => peer.receiveCandidate(candidate)));
  }

  /**
   * Someone is on the server's list: new, or still there, or back. On a wire without a list, someone who is expected, or calls.
   * @param {User} user
   */
  #admit(user) {
    const known = this.#members.get(user.userId);
    const name = nameOf(user);
    if (known) {
      if (!user.expected) this.#meet(known);
      // Not everything that says who also says how.
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

  /** Something was heard of someone. @param {Member} member */
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
   * Someone is off the list. Who said goodbye is gone; who only lost the server stays while the connection lives.
   * @param {Member} member
   * @param {string} reason
   */
  #lose(member, reason) {
    const goodbye = reason === "left" || reason === "kicked" || reason === "closed";
    if (!goodbye && member.peer?.alive) this.#update(member.id, { away: true, listed: false });
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

  /** A new connection to a member, in place of the one there may be. @param {Member} member */
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
      sent.catch((error) => this.#makeUp(peer, error));
    });
    on("candidate", (candidate) => {
      this.#signaling.candidate(member.id, candidate, link()).catch((error) => this.#makeUp(peer, error));
    });
    on("state", (state) => {
      // Off the list and without media: nothing is left of them.
      if (!member.listed && (state === "failed" || state === "disconnected")) this.#remove(member, "timeout");
      else this.#changed(member);
    });
    on("closed", () => {
      // The other page hung up. Whether that person is still here is for the server to say, if it (still) speaks of them.
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
   * @param {Link | undefined} link absent where the other side is not this page, or on another wire
   */
  async #receiveOffer(member, offer, link) {
    if (!member) return;
    this.#meet(member);
    const { peer } = member;
    if (link?.to && link.to !== peer?.id) {
      // They go on with a connection of which this side is gone, so it has to be a new one. It may be on its way already.
      if (!peer?.calling) this.#connect(member).call();
      return;
    }
    // They began anew: a reloaded page, most likely.
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
   * Answers and candidates, which mean something to one connection only.
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
      const name = message.name.trim().slice(0, NAME_LIMIT);
      if (member.unnamed && name) this.#update(member.id, { name });
    } else if (message?.type === "sends") {
      const { audio, video, screen } = message;
      this.#update(member.id, { sends: { audio: !!audio, video: !!video, screen: !!screen } });
    }
  }

  /**
   * A signal did not get through. Offline, the re-join makes up for it; someone who is gone needs nothing.
   * @param {Peer} peer
   * @param {SignalingError} error
   */
  #makeUp(peer, error) {
    if (BESIDE_THE_POINT.has(error.code) || this.#makingUp.has(peer)) return;
    console.warn("a signal was refused", error.code, error.message);
    this.#makingUp.add(peer);
    setTimeout(() => {
      this.#makingUp.delete(peer);
      if (peer.state !== "closed") peer.resume();
    }, error.retryAfterMs ?? RETRY_MS);
  }

  /** @param {Peer} peer */
  #fill(peer) {
    for (const kind of /** @type {const} */ (["audio", "video"])) {
      peer.setTrack(kind, this.#tracks[kind]).catch((error) => console.warn("a track could not be sent", error));
    }
  }

  /** In a mesh every pixel is encoded and sent once per member, so the more there are, the smaller the picture; a screen must be read. */
  #spread() {
    const count = this.#members.size;
    const scale = this.#sends.screen || count < 2 ? 1 : count < 4 ? 2 : 3;
    for (const { peer } of this.#members.values()) peer?.setVideoScale(scale);
  }
}

/** The name the server gives someone, or an empty string. @param {User} user */
function nameOf(user) {
  return typeof user.name === "string" ? user.name.trim() : "";
}
