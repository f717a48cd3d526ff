/**
 * One RTCPeerConnection to one other peer: perfect negotiation, ICE restart, a data channel, statistics.
 *
 * Uses neither the DOM nor signaling: it emits descriptions and candidates as events, and the owner sends them to the other side.
 *
 * - {@link Peer#call} makes the first offer; the waiting side passes what it receives to {@link Peer#receiveDescription}
 * - either side may renegotiate at any time; if both do, the impolite peer's offer wins and the polite peer rolls back
 * - descriptions and candidates are processed one at a time, in order of arrival
 * - a failed connection restarts ICE by itself; {@link Peer#resume} helps after a loss of signaling
 *
 * @module peer
 */
import { Emitter } from "./emitter.js";
import { Meter } from "./meter.js";
import { ScreenSender } from "./peer-screen.js";
import { fingerprint, pause } from "./peer-tools.js";

/** Kinds of sent media: microphone, camera, and additionally a screen with its audio. @typedef {"audio" | "video" | "screen" | "screenAudio"} Kind */

/** Negotiated from the start. */
const KINDS = /** @type {const} */ (["audio", "video"]);

/** Time in state `disconnected` before ICE is restarted, in milliseconds: most short losses recover without a restart. */
const DISCONNECTED_GRACE_MS = 2500;

/** Time before an unanswered offer that won a collision is repeated, in milliseconds: it may have been lost. */
const REPEAT_MS = 1500;

/** Maximum time to wait for the first candidate of an offer before its rollback, in milliseconds. */
const GATHERING_MS = 1000;

/** Maximum time to wait for new credentials before an ICE restart, in milliseconds: the current ones may still be valid. */
const RENEWAL_MS = 1000;

/** Maximum length of a data channel message that is processed, in characters. */
const MESSAGE_LIMIT = 16384;

/**
 * The events of a {@link Peer}: a description or candidate to send (`null` at the end), the connection's state, {@link Peer#stream} when
 * its tracks have changed, the data channel has opened or was closed by the other side, a message of its {@link Peer#send}.
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
 * @property {boolean} [polite] exactly one of the two sides is polite; if omitted on both, it is the side whose certificate has the smaller
 *   fingerprint, which both know after a collision of their offers
 * @property {RTCIceServer[]} [iceServers]
 * @property {() => Promise<RTCIceServer[] | undefined>} [renewIceServers] called before each ICE restart if there are credentials to renew,
 *   since TURN credentials expire
 * @property {MediaStream} outgoing synchronizes audio and video; its tracks are not used
 */

/** @extends {Emitter<PeerEvents>} */
export class Peer extends Emitter {
  /** Identifies this end of the connection, so that signals for an earlier one can be distinguished. */
  id = Math.random().toString(36).slice(2, 10);
  /** The other end's {@link Peer#id}, once known. @type {string | null} */
  remoteId = null;
  /** The received tracks of microphone and camera: the first audio and the first video in the descriptions. */
  stream = new MediaStream();
  /** The received tracks of a shared screen: the further ones. */
  screen = new MediaStream();

  /** @type {RTCPeerConnection} */
  #connection;
  #polite;
  #outgoing;
  #screenSender;
  #renewIceServers;
  /** The sent tracks. @type {Record<"audio" | "video", MediaStreamTrack | null>} */
  #tracks = { audio: null, video: null };
  /** The transceivers of the sent tracks. @type {Partial<Record<"audio" | "video", RTCRtpTransceiver>>} */
  #transceivers = {};
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #called = false;
  /** Resolves when no offer is being made; never rejects. @type {Promise<unknown>} */
  #offering = Promise.resolve();
  /** Resolves when all received signals are processed; never rejects. @type {Promise<unknown>} */
  #processing = Promise.resolve();
  #videoScale = 1;
  /** Resolves with the first local candidate. @type {Promise<unknown>} */
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
    this.#screenSender = new ScreenSender(this.#connection);
    this.#gathered = new Promise((found) => this.#connection.addEventListener("icecandidate", found, { once: true }));
    this.#listen();
  }

  /** The underlying connection, for inspection. */
  get connection() {
    return this.#connection;
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** Whether the data channel is open, so that the other side is reachable without the server. */
  get alive() {
    return this.state === "connected" && this.#channel?.readyState !== "closed";
  }

  /**
   * Whether a description comes from a different RTCPeerConnection than the current one: each has a certificate of its own.
   * @param {RTCSessionDescriptionInit} description
   */
  isStranger(description) {
    const [known, given] = [fingerprint(this.#connection.remoteDescription), fingerprint(description)];
    return !!known && !!given && known !== given;
  }

  /** True from {@link Peer#call} until the first answer of the other side. */
  get calling() {
    return this.#called && !this.#connection.currentRemoteDescription;
  }

  /** Starts the connection from this side: adds tracks and the data channel, which triggers the offer. */
  call() {
    this.#called = true;
    this.#openChannel();
    for (const kind of KINDS) {
      const track = this.#tracks[kind];
      // addTrack instead of addTransceiver: after a rollback, only its transceivers are matched with the other side's offer.
      if (track) {
        const sender = this.#connection.addTrack(track, this.#outgoing);
        this.#transceivers[kind] = this.#connection.getTransceivers().find((one) => one.sender === sender);
      } else {
        this.#transceivers[kind] = this.#connection.addTransceiver(kind, { direction: "recvonly" });
      }
    }
    this.#fillScreen();
  }

  /**
   * Processes an offer or answer of the other side. An answer to an offer that is already answered is ignored.
   * @param {RTCSessionDescriptionInit} description
   */
  receiveDescription(description) {
    return this.#inTurn(() => (description.type === "offer" ? this.#takeOffer(description) : this.#takeAnswer(description)));
  }

  /**
   * Processes a candidate of the other side; null or empty is the end of candidates. A candidate that belongs to no accepted description is
   * ignored: its offer lost a collision, or its connection is closed.
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
   * Sends this track, or nothing. Renegotiates when a kind is sent for the first time, and when a screen begins or ends.
   * @param {Kind} kind
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(kind, track) {
    if (kind === "screen" || kind === "screenAudio") {
      this.#screenSender.tracks[kind] = track;
      return this.#fillScreen();
    }
    this.#tracks[kind] = track;
    const transceiver = this.#transceivers[kind];
    if (transceiver) await this.#fill(transceiver, track);
  }

  /**
   * Scales the sent video down by this factor.
   * @param {number} factor 1 or more
   */
  setVideoScale(factor) {
    this.#videoScale = factor;
    this.#applyVideoScale();
  }

  /**
   * To be called when signaling or the other side is back: repeats an offer that may be lost, and restarts ICE if media does not flow.
   * @param {RTCIceServer[]} [iceServers] new ones, since TURN credentials expire
   */
  resume(iceServers) {
    if (iceServers) this.#connection.setConfiguration({ iceServers });
    if (!this.#repeatOffer() && this.#isBroken) this.#restart();
  }

  /**
   * @param {unknown} message any JSON value
   * @returns {boolean} whether the data channel accepted it
   */
  send(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** The traffic of the connection since the last call. */
  async stats() {
    return this.#meter.read(await this.#connection.getStats());
  }

  /** The current audio level of the other side, 0 to 1. */
  get audioLevel() {
    const source = this.#transceivers.audio?.receiver.getSynchronizationSources?.()[0];
    // A silent source keeps its last level; only its timestamp shows that.
    if (!source || performance.timeOrigin + performance.now() - source.timestamp > 1000) return 0;
    return source.audioLevel ?? 0;
  }

  /** Closes the connection; the other side's data channel closes at once. */
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

    connection.addEventListener("track", ({ track, transceiver }) => {
      const stream = transceiver === this.#first(/** @type {"audio" | "video"} */ (track.kind)) ? this.stream : this.screen;
      for (const old of stream.getTracks()) if (old.kind === track.kind) stream.removeTrack(old);
      stream.addTrack(track);
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

  get #isClosed() { return this.#connection.signalingState === "closed"; }

  get #isBroken() { return this.state === "failed" || this.state === "disconnected"; }

  /** Restarts ICE, while media continues. */
  async #restart() {
    const connection = this.#connection;
    clearTimeout(this.#restartTimer);
    if (this.#renewIceServers && connection.getConfiguration().iceServers?.some(({ credential }) => credential)) {
      const iceServers = await Promise.race([this.#renewIceServers().catch(() => undefined), pause(RENEWAL_MS)]);
      // The connection may have recovered or been closed during the request.
      if (!this.#isBroken) return;
      if (iceServers) connection.setConfiguration({ iceServers });
    }
    connection.restartIce();
  }

  /** Emits an unanswered offer again. @returns {boolean} whether there is one */
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
      // An offer of the other side may have arrived meanwhile; then the description is an answer, which is emitted elsewhere.
      if (connection.localDescription?.type === "offer") this.tell("description", connection.localDescription);
    } catch (error) {
      if (!this.#isClosed) console.warn("negotiation failed", error);
    }
  }

  /** @param {RTCSessionDescriptionInit} offer */
  async #takeOffer(offer) {
    const connection = this.#connection;
    // Both offers are needed for the comparison.
    await this.#offering;
    if (connection.signalingState === "have-local-offer") {
      if (!(this.#polite ?? fingerprint(connection.localDescription) < fingerprint(offer))) {
        clearTimeout(this.#repeatTimer);
        this.#repeatTimer = setTimeout(() => this.#repeatOffer(), REPEAT_MS);
        return;
      }
      // Chromium: a new connection that is rolled back before it has found the first network never finds any.
      await Promise.race([this.#gathered, pause(GATHERING_MS)]);
      if (this.#isClosed) return;
    }
    await connection.setRemoteDescription(offer);
    if (offer.sdp?.includes("m=application")) this.#openChannel();
    this.#adoptTransceivers();
    await connection.setLocalDescription();
    if (connection.localDescription) this.tell("description", connection.localDescription);
    this.#fillScreen();
    this.#applyVideoScale();
  }

  /** @param {RTCSessionDescriptionInit} answer */
  async #takeAnswer(answer) {
    // A repeated offer is answered twice.
    if (this.#connection.signalingState !== "have-local-offer") return;
    await this.#connection.setRemoteDescription(answer);
    this.#applyVideoScale();
  }

  /** Processes signals one at a time, so that a candidate follows its description. @param {() => Promise<void>} take */
  #inTurn(take) {
    const taken = this.#processing.then(() => {
      if (!this.#isClosed) return take();
    });
    this.#processing = taken.catch(() => {});
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
        // Another client may use the channel for messages of its own.
      }
    });
  }

  /** After an offer: uses the transceivers that it created, and drops those left over from a rollback. */
  #adoptTransceivers() {
    for (const one of this.#connection.getTransceivers()) if (one.mid === null && !this.#screenSender.owns(one)) one.stop();
    for (const kind of KINDS) {
      if (this.#transceivers[kind]?.mid) continue;
      const transceiver = this.#first(kind);
      this.#transceivers[kind] = transceiver;
      if (transceiver) this.#fill(transceiver, this.#tracks[kind]);
    }
  }

  /** The transceiver of the microphone or the camera, at both ends. @param {"audio" | "video"} kind */
  #first(kind) {
    return this.#connection.getTransceivers().find((one) => one.mid !== null && one.receiver.track.kind === kind);
  }

  /** Begins or ends sending a screen, once there is a connection on which to negotiate that. */
  #fillScreen() {
    if (this.#called || this.#connection.currentRemoteDescription) this.#screenSender.fill();
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
    // Fails during a negotiation; applied again at its end.
    sender.setParameters(parameters).catch(() => {});
  }
}
