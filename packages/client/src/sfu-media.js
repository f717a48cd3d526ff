/**
 * The transports of a connection to the media server, one to send and one to receive, and their producers and consumers, without their
 * users.
 *
 * - created again for each membership in the room: the server has ended the producers and consumers of the former one
 * - a transport that fails gets new ICE credentials; if that does not help, `broken` is emitted, and the owner creates new transports
 * - audio is sent first, and tracks are produced one at a time
 *
 * @module sfu-media
 */
import { Emitter } from "./emitter.js";
import { NO_TRACKS } from "./mesh.js";

/** @typedef {import("mediasoup-client").types.Device} Device */
/** @typedef {import("mediasoup-client").types.Transport} Transport */
/** @typedef {import("mediasoup-client").types.Producer} Producer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** @typedef {(type: string, payload?: object) => Promise<any>} Ask */

/** The tracks to send, and their announcement. @typedef {import("./mesh.js").Tracks & { sends: import("./mesh.js").Sends }} Outgoing */

/** Time in which an ICE restart must succeed, in milliseconds: a failure after it is a new one. */
const RESTART_MS = 20_000;

/** Minimum pixels for this many layers: browsers send fewer layers for smaller videos, and the best remaining layer must be unscaled. */
const THREE_LAYERS = 960 * 540;
const TWO_LAYERS = 480 * 270;

/** The simulcast layers of a camera, the best last. */
const LAYERS = [
  { rid: "r0", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "r1", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "r2", scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];

/** A screen must stay readable: one layer in full resolution. */
const SCREEN = [{ maxBitrate: 2_500_000 }];

/**
 * `state`: of the receiving transport; `broken`: new transports are needed; `failed`: a track could not be sent.
 * @typedef {{ "state": ConnectionState, "broken": undefined, "failed": SignalingError }} SfuMediaEvents
 */

/** @extends {Emitter<SfuMediaEvents>} */
export class SfuMedia extends Emitter {
  #ask;
  /** @type {Promise<Device> | Device} */
  #preparing;
  /** @type {Device | null} */
  #device = null;
  /** @type {Transport | null} */
  #sending = null;
  /** @type {Transport | null} */
  #receiving = null;
  /** @type {Partial<Record<import("./peer.js").Kind, Producer>>} */
  #producers = {};
  /** @type {Outgoing} */
  #outgoing = { ...NO_TRACKS, sends: { audio: false, video: false, screen: false } };
  /** Resolves when all tracks are sent; never rejects. @type {Promise<unknown>} */
  #applying = Promise.resolve();
  /** Time of the last ICE restart, by transport. @type {Map<string, number>} */
  #restarts = new Map();
  #isClosed = false;

  /** @param {{ ask: Ask, device: Device | Promise<Device> }} options `device`: not used before */
  constructor({ ask, device }) {
    super();
    this.#ask = ask;
    this.#preparing = device;
  }

  /** The state of the receiving transport. @returns {ConnectionState} */
  get state() {
    return this.#receiving?.connectionState ?? "new";
  }

  /** Whether tracks can be received. */
  get isOpen() {
    return !!this.#receiving && !this.#isClosed;
  }

  /** Creates the two transports. Rejects with a {@link SignalingError}, or as `device` does. */
  async open() {
    const device = await this.#preparing;
    this.#device = device;
    const { rtpCapabilities: routerRtpCapabilities } = await this.#ask("router:capabilities");
    await device.load({ routerRtpCapabilities });
    const creating = ["send", "recv"].map((direction) => this.#ask("transport:create", { direction }));
    const created = await Promise.allSettled(creating);
    if (this.#isClosed || created.some(({ status }) => status === "rejected")) {
      for (const one of created) if (one.status === "fulfilled") this.#end(one.value.id);
    }
    if (this.#isClosed) return;
    const [sending, receiving] = await Promise.all(creating);
    this.#sending = this.#watch(device.createSendTransport(sending));
    this.#receiving = this.#watch(device.createRecvTransport(receiving));
    this.#sending.on("produce", ({ kind, rtpParameters, appData }, done, fail) => {
      this.#ask("produce", { transportId: sending.id, kind, rtpParameters, appData }).then(done, fail);
    });
    this.#receiving.on("connectionstatechange", (state) => this.tell("state", state));
  }

  /**
   * Sets the tracks to send.
   * @param {Outgoing} outgoing
   */
  send(outgoing) {
    this.#outgoing = outgoing;
    this.#applying = this.#applying.then(() => this.#apply()).catch((error) => !this.#isClosed && this.tell("failed", error));
  }

  /**
   * Creates a paused consumer of a producer; `consumer:resume` starts it. Rejects with a {@link SignalingError}.
   * @param {string} producerId
   * @param {string} [streamId] tracks of one stream are synchronized; by default, all of a peer
   */
  async consume(producerId, streamId) {
    if (!this.#receiving || !this.#device) throw new Error("open it first");
    const rtpCapabilities = this.#device.recvRtpCapabilities;
    const created = await this.#ask("consume", { transportId: this.#receiving.id, producerId, rtpCapabilities });
    return this.#receiving.consume({ ...created, streamId: streamId ?? created.userId });
  }

  /**
   * Closes a consumer, at the server as well.
   * @param {import("mediasoup-client").types.Consumer} consumer
   */
  dismiss(consumer) {
    consumer.close();
    // The consumer may have ended with its producer.
    if (!this.#isClosed) this.#ask("consumer:close", { consumerId: consumer.id }).catch(() => {});
  }

  /**
   * Handles a failed transport: renews its ICE credentials or, if that did not help, requests new transports.
   * @param {string} transportId
   */
  async restart(transportId) {
    const transport = [this.#sending, this.#receiving].find((one) => one?.id === transportId);
    if (!transport || this.#isClosed) return;
    const last = this.#restarts.get(transportId) ?? -Infinity;
    // The server and the browser both report the failure, at different times.
    if (performance.now() - last < RESTART_MS / 4) return;
    if (performance.now() - last < RESTART_MS) return this.#broken();
    this.#restarts.set(transportId, performance.now());
    try {
      const { iceParameters } = await this.#ask("transport:restart-ice", { transportId });
      await transport.restartIce({ iceParameters });
    } catch {
      this.#broken();
    }
  }

  /** Closes the transports, at the server as well if they still exist. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const transport of [this.#sending, this.#receiving]) {
      transport?.close();
      if (transport) this.#end(transport.id);
    }
  }

  /** Closes a transport at the server. @param {string} transportId */
  #end(transportId) {
    // It may have ended with the membership.
    this.#ask("transport:close", { transportId }).catch(() => {});
  }

  /** @param {Transport} transport */
  #watch(transport) {
    transport.on("connect", ({ dtlsParameters }, done, fail) => {
      this.#ask("transport:connect", { transportId: transport.id, dtlsParameters }).then(done, fail);
    });
    transport.on("connectionstatechange", (state) => state === "failed" && this.restart(transport.id));
    return transport;
  }

  async #apply() {
    await this.#applyAudio();
    const { video } = this.#outgoing;
    const encodings = video ? layersOf(video) : [];
    await this.#applyTrack("video", { encodings, appData: { source: "camera", layers: encodings.length } });
    await this.#applyTrack("screen", { encodings: SCREEN, appData: { source: "screen" } });
    await this.#applyTrack("screenAudio", { appData: { source: "screen-audio" } });
  }

  async #applyAudio() {
    const { sends } = this.#outgoing;
    const producer = await this.#applyTrack("audio", { appData: { source: "microphone" } });
    if (!producer || producer.paused === !sends.audio) return;
    await this.#ask(sends.audio ? "producer:resume" : "producer:pause", { producerId: producer.id });
    if (sends.audio) producer.resume();
    else producer.pause();
  }

  /**
   * Sends the track of a kind, or ends its producer.
   * @param {import("./peer.js").Kind} kind
   * @param {import("mediasoup-client").types.ProducerOptions} options
   */
  async #applyTrack(kind, options) {
    const track = this.#outgoing[kind];
    const former = this.#producers[kind];
    if (!track) {
      if (!former) return;
      delete this.#producers[kind];
      await this.#ask("producer:close", { producerId: former.id });
      former.close();
    } else if (former) {
      if (former.track !== track) await former.replaceTrack({ track });
      return former;
    } else {
      return (this.#producers[kind] = await this.#produce({ track, ...options }));
    }
  }

  /** @param {import("mediasoup-client").types.ProducerOptions} options */
  async #produce(options) {
    // Tracks belong to the caller, and muting is announced by the sender.
    return this.#sending?.produce({ ...options, stopTracks: false, disableTrackOnPause: false });
  }

  #broken() {
    if (!this.#isClosed) this.tell("broken", undefined);
  }
}

/** Returns as many layers as the browser is going to send. @param {MediaStreamTrack} track */
function layersOf(track) {
  const { width = 0, height = 0 } = track.getSettings();
  const count = width * height >= THREE_LAYERS ? 3 : width * height >= TWO_LAYERS ? 2 : 1;
  return LAYERS.slice(-count);
}
