/**
 * One RTCPeerConnection to one other person: perfect negotiation, ICE restart, a data channel, statistics.
 *
 * Knows nothing of the DOM and nothing of the wire: it hands out descriptions and candidates as events, and whoever holds it brings
 * them to the other side.
 *
 * - {@link Peer#call} makes the first offer; the side that waits just gives what arrives to {@link Peer#receiveDescription}
 * - either side may renegotiate at any time; when both do, the impolite one's offer wins and the polite one rolls back
 * - what arrives is taken in the order in which it arrived, one after the other
 * - a connection that fails restarts ICE by itself; {@link Peer#resume} helps when signaling had been away
 *
 * @module peer
 */
import { Emitter } from "./emitter.js";
import { Meter } from "./meter.js";

/** @typedef {"audio" | "video"} Kind */

/** @type {Kind[]} */
const KINDS = ["audio", "video"];

/** How long `disconnected` may last before ICE is restarted: short losses heal alone, and a restart would only add to the noise. */
const DISCONNECTED_GRACE_MS = 2500;

/** How long an offer that won over the other side's may stay without an answer before it is repeated: it may never have arrived. */
const REPEAT_MS = 1500;

/** How long to wait at most for the first candidate of an offer that gives way, in milliseconds. */
const GATHERING_MS = 1000;

/** How long a restart of ICE waits for newer credentials, in milliseconds: those that there are may well be good still. */
const RENEWAL_MS = 1000;

/** Longest data channel message taken from the other side, in characters. */
const MESSAGE_LIMIT = 16384;

/**
 * The events of a {@link Peer}: a description and a candidate to send (`null` at the end), the connection's state, {@link Peer#stream}
 * whose tracks have changed, the data channel that opened or that the other side closed, and what it has given to {@link Peer#send}.
 * @typedef {{
 *   "description": RTCSessionDescription,
 *   "candidate": RTCIceCandidateInit | null,
 *   "state": RTCPeerConnectionState,
 *   "stream": MediaStream,
 *   "open": undefined,
 *   "closed": undefined,
 *   "message": any,
 * }} PeerEvents
 */

/**
 * @typedef {object} PeerOptions
 * @property {boolean} [polite] exactly one of the two sides is; left out on both, it is the one whose certificate has the smaller
 *   fingerprint, which both know once their offers have met
 * @property {RTCIceServer[]} [iceServers]
 * @property {() => Promise<RTCIceServer[] | undefined>} [renewIceServers] asked before each restart of ICE, if there are credentials to
 *   renew: those of a TURN server are good for a time
 * @property {MediaStream} outgoing only ties sound and picture together for lip-sync, its tracks are not read
 */

/** @extends {Emitter<PeerEvents>} */
export class Peer extends Emitter {
  /** Names this end of the connection, so that a signal meant for an earlier one can be told apart. */
  id = Math.random().toString(36).slice(2, 10);
  /** The other end's {@link Peer#id}, once known. @type {string | null} */
  remoteId = null;
  /** What is received. */
  stream = new MediaStream();

  /** @type {RTCPeerConnection} */
  #connection;
  #polite;
  #outgoing;
  #renewIceServers;
  /** What is sent. @type {Record<Kind, MediaStreamTrack | null>} */
  #tracks = { audio: null, video: null };
  /** Where it is sent. @type {Partial<Record<Kind, RTCRtpTransceiver>>} */
  #transceivers = {};
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #called = false;
  /** Ends when no offer is being made; never fails. @type {Promise<unknown>} */
  #offering = Promise.resolve();
  /** Ends when all that has arrived is taken; never fails. @type {Promise<unknown>} */
  #taking = Promise.resolve();
  #videoScale = 1;
  /** Ends with the first local candidate. @type {Promise<unknown>} */
  #gathered;
  /** @type {number | undefined} */
  #restartTimer;
  /** @type {number | undefined} */
  #repeatTimer;
  #meter = new Meter();

  /** @param {PeerOptions} options */
  constructor({ polite, iceServers = [], renewIceServers, outgoing }) {
    super();
    this.#polite = polite;
    this.#outgoing = outgoing;
    this.#renewIceServers = renewIceServers;
    this.#connection = new RTCPeerConnection({ iceServers });
    this.#gathered = new Promise((found) => this.#connection.addEventListener("icecandidate", found, { once: true }));
    this.#listen();
  }

  /** The connection itself, to look at. */
  get connection() {
    return this.#connection;
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** Whether the other side can be told to be there without asking the server. */
  get alive() {
    return this.state === "connected" && this.#channel?.readyState !== "closed";
  }

  /**
   * Whether a description comes from another RTCPeerConnection than the one at the other end of this: each has a certificate of its own.
   * @param {RTCSessionDescriptionInit} description
   */
  isStranger(description) {
    const [known, given] = [fingerprint(this.#connection.remoteDescription), fingerprint(description)];
    return !!known && !!given && known !== given;
  }

  /** True from {@link Peer#call} until the other side has answered for the first time. */
  get calling() {
    return this.#called && !this.#connection.currentRemoteDescription;
  }

  /** Starts the connection from this side: everything it needs is added, and the offer follows by itself. */
  call() {
    this.#called = true;
    this.#openChannel();
    for (const kind of KINDS) {
      const track = this.#tracks[kind];
      // addTrack and not addTransceiver: only what addTrack made is matched with the other side's offer when ours is rolled back.
      if (track) {
        const sender = this.#connection.addTrack(track, this.#outgoing);
        this.#transceivers[kind] = this.#connection.getTransceivers().find((one) => one.sender === sender);
      } else {
        this.#transceivers[kind] = this.#connection.addTransceiver(kind, { direction: "recvonly" });
      }
    }
  }

  /**
   * An offer or an answer from the other side. An answer to what has been answered is let go.
   * @param {RTCSessionDescriptionInit} description
   */
  receiveDescription(description) {
    return this.#inTurn(() => (description.type === "offer" ? this.#takeOffer(description) : this.#takeAnswer(description)));
  }

  /**
   * A candidate from the other side; null or empty is the end of candidates. One that belongs to no description taken here is let go:
   * its offer lost against ours, or its connection is no more.
   * @param {RTCIceCandidateInit | null} candidate
   */
  receiveCandidate(candidate) {
    return this.#inTurn(async () => {
      const lines = this.#connection.remoteDescription?.sdp.split(/\r?\n/) ?? [];
      const ufrag = candidate?.usernameFragment ?? / ufrag (\S+)/.exec(candidate?.candidate ?? "")?.[1];
      if (!lines.length || (ufrag && !lines.includes(`a=ice-ufrag:${ufrag}`))) return;
      await this.#connection.addIceCandidate(candidate ?? undefined);
    });
  }

  /**
   * Sends this track from now on, or nothing. Renegotiates only when a kind is sent for the first time.
   * @param {Kind} kind
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(kind, track) {
    this.#tracks[kind] = track;
    const transceiver = this.#transceivers[kind];
    if (transceiver) await this.#fill(transceiver, track);
  }

  /**
   * Sends the video smaller by this factor.
   * @param {number} factor 1 or more
   */
  setVideoScale(factor) {
    this.#videoScale = factor;
    this.#applyVideoScale();
  }

  /**
   * Signaling is back, or the other side is: repeats an offer that may be lost, and restarts ICE where media does not flow.
   * @param {RTCIceServer[]} [iceServers] newer ones: the credentials of a TURN server are good for a limited time
   */
  resume(iceServers) {
    if (iceServers) this.#connection.setConfiguration({ iceServers });
    if (!this.#repeatOffer() && this.#isBroken) this.#restart();
  }

  /**
   * @param {unknown} message anything JSON can carry
   * @returns {boolean} whether the data channel took it
   */
  send(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** What went over the connection since the last call. */
  async stats() {
    return this.#meter.read(await this.#connection.getStats());
  }

  /** How loud the other side is right now, 0 to 1. */
  get audioLevel() {
    const source = this.#transceivers.audio?.receiver.getSynchronizationSources?.()[0];
    // A source that fell silent keeps its last level; its timestamp gives it away.
    if (!source || performance.timeOrigin + performance.now() - source.timestamp > 1000) return 0;
    return source.audioLevel ?? 0;
  }

  /** Ends it; the other side's data channel closes at once. */
  close() {
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#repeatTimer);
    this.#connection.close();
  }

  #listen() {
    const connection = this.#connection;

    connection.addEventListener("negotiationneeded", () => {
      this.#offering = this.#offer();
    });

    connection.addEventListener("icecandidate", ({ candidate }) => this.tell("candidate", candidate?.toJSON() ?? null));

    connection.addEventListener("track", ({ track }) => {
      for (const old of this.stream.getTracks()) if (old.kind === track.kind) this.stream.removeTrack(old);
      this.stream.addTrack(track);
      for (const change of ["mute", "unmute", "ended"]) track.addEventListener(change, () => this.tell("stream", this.stream));
      this.tell("stream", this.stream);
    });

    connection.addEventListener("connectionstatechange", () => {
      clearTimeout(this.#restartTimer);
      if (this.state === "failed") this.#restart();
      if (this.state === "disconnected") this.#restartTimer = setTimeout(() => this.#restart(), DISCONNECTED_GRACE_MS);
      this.tell("state", this.state);
    });
  }

  get #isClosed() {
    return this.#connection.signalingState === "closed";
  }

  get #isBroken() {
    return this.state === "failed" || this.state === "disconnected";
  }

  /** Looks for a way anew, while what is sent goes on. */
  async #restart() {
    const connection = this.#connection;
    clearTimeout(this.#restartTimer);
    if (this.#renewIceServers && connection.getConfiguration().iceServers?.some(({ credential }) => credential)) {
      const iceServers = await Promise.race([this.#renewIceServers().catch(() => undefined), pause(RENEWAL_MS)]);
      // It may have healed, or been closed, while they were asked for.
      if (!this.#isBroken) return;
      if (iceServers) connection.setConfiguration({ iceServers });
    }
    connection.restartIce();
  }

  /** Tells an offer again that has no answer. @returns {boolean} whether there is one */
  #repeatOffer() {
    const { signalingState, localDescription } = this.#connection;
    const isOpen = signalingState === "have-local-offer" && !!localDescription;
    if (isOpen) this.tell("description", localDescription);
    return isOpen;
  }

  async #offer() {
    const connection = this.#connection;
    try {
      await connection.setLocalDescription();
      // The other side's offer may have come in between; then this would be an answer, and is told elsewhere.
      if (connection.localDescription?.type === "offer") this.tell("description", connection.localDescription);
    } catch (error) {
      if (!this.#isClosed) console.warn("negotiation failed", error);
    }
  }

  /** @param {RTCSessionDescriptionInit} offer */
  async #takeOffer(offer) {
    const connection = this.#connection;
    // Both offers have to be there to be compared.
    await this.#offering;
    if (connection.signalingState === "have-local-offer") {
      if (!this.#isPoliteTo(offer)) return this.#repeatLater();
      // Chromium: rolled back before it has found the first network, a new connection never finds any.
      await Promise.race([this.#gathered, pause(GATHERING_MS)]);
      if (this.#isClosed) return;
    }
    await connection.setRemoteDescription(offer);
    if (offer.sdp?.includes("m=application")) this.#openChannel();
    this.#adoptTransceivers();
    await connection.setLocalDescription();
    if (connection.localDescription) this.tell("description", connection.localDescription);
    this.#applyVideoScale();
  }

  /** @param {RTCSessionDescriptionInit} answer */
  async #takeAnswer(answer) {
    // An offer that was repeated is answered twice.
    if (this.#connection.signalingState !== "have-local-offer") return;
    await this.#connection.setRemoteDescription(answer);
    this.#applyVideoScale();
  }

  /** Both sides made an offer: whether ours gives way. @param {RTCSessionDescriptionInit} offer */
  #isPoliteTo(offer) {
    return this.#polite ?? fingerprint(this.#connection.localDescription) < fingerprint(offer);
  }

  #repeatLater() {
    clearTimeout(this.#repeatTimer);
    this.#repeatTimer = setTimeout(() => this.#repeatOffer(), REPEAT_MS);
  }

  /** One thing after the other, so that a candidate finds its description taken. @param {() => Promise<void>} take */
  #inTurn(take) {
    const taken = this.#taking.then(() => {
      if (!this.#isClosed) return take();
    });
    this.#taking = taken.catch(() => {});
    return taken;
  }

  /** The data channel has the same number on both sides, so neither has to wait for the other to open it. */
  #openChannel() {
    if (this.#channel) return;
    this.#channel = this.#connection.createDataChannel("parlor", { negotiated: true, id: 0 });
    this.#channel.addEventListener("open", () => this.tell("open", undefined));
    this.#channel.addEventListener("close", () => this.tell("closed", undefined));
    this.#channel.addEventListener("message", ({ data }) => {
      if (typeof data !== "string" || data.length > MESSAGE_LIMIT) return;
      try {
        this.tell("message", JSON.parse(data));
      } catch {
        // Not ours; another client may use the channel in its own way.
      }
    });
  }

  /** After an offer: answers into the transceivers it brought, and lets go of those that a roll-back has left over. */
  #adoptTransceivers() {
    const all = this.#connection.getTransceivers();
    for (const one of all) if (one.mid === null) one.stop();
    for (const kind of KINDS) {
      if (this.#transceivers[kind]?.mid) continue;
      const transceiver = all.find((one) => one.mid !== null && one.receiver.track.kind === kind);
      this.#transceivers[kind] = transceiver;
      if (transceiver) this.#fill(transceiver, this.#tracks[kind]);
    }
  }

  /** @param {RTCRtpTransceiver} transceiver @param {MediaStreamTrack | null} track */
  async #fill(transceiver, track) {
    if (track && !transceiver.direction.startsWith("send")) {
      transceiver.sender.setStreams?.(this.#outgoing);
      transceiver.direction = "sendrecv";
    }
    await transceiver.sender.replaceTrack(track);
    this.#applyVideoScale();
  }

  #applyVideoScale() {
    const sender = this.#transceivers.video?.sender;
    const parameters = sender?.getParameters();
    if (!sender || !parameters?.encodings?.length || (parameters.encodings[0].scaleResolutionDownBy ?? 1) === this.#videoScale) return;
    parameters.encodings[0].scaleResolutionDownBy = this.#videoScale;
    // Refused while a negotiation is under way; it is applied again at its end.
    sender.setParameters(parameters).catch(() => {});
  }
}

/** @param {number} milliseconds @returns {Promise<undefined>} */
function pause(milliseconds) {
  return new Promise((end) => setTimeout(end, milliseconds, undefined));
}

/**
 * The fingerprint of the certificate with which a description's connection will prove who it is; empty if there is none.
 * @param {RTCSessionDescriptionInit | null} description
 */
function fingerprint(description) {
  return /^a=fingerprint:(.+?)\s*$/m.exec(description?.sdp ?? "")?.[1].toLowerCase() ?? "";
}
