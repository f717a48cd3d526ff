/**
 * A connection to the media server: a transport to send by and one to receive by, and what goes over them. It knows of producers and
 * consumers, and of nobody whose they are.
 *
 * - made anew for each place in the room: the server has ended what belonged to the one before
 * - a transport through which nothing comes gets new ICE credentials; where that does not help, it is `broken`, and whoever holds it
 *   makes another
 * - sound is sent first, and one thing after the other
 *
 * @module sfu-media
 */
import { Emitter } from "./emitter.js";

/** @typedef {import("mediasoup-client").types.Device} Device */
/** @typedef {import("mediasoup-client").types.Transport} Transport */
/** @typedef {import("mediasoup-client").types.Producer} Producer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** @typedef {(type: string, payload?: object) => Promise<any>} Ask */

/** What is sent, and what to say of it. @typedef {import("./mesh.js").Tracks & { sends: import("./mesh.js").Sends }} Outgoing */

/** How long a restart of ICE has to help, in milliseconds: a failure after that is a new one. */
const RESTART_MS = 20_000;

/** Below these many pixels browsers send fewer layers, whatever is asked of them; so the best of those must be the whole picture. */
const THREE_LAYERS = 960 * 540;
const TWO_LAYERS = 480 * 270;

/** The layers of a camera, best last. */
const LAYERS = [
  { rid: "r0", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "r1", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "r2", scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];

/** A screen must be read: one layer, of all its pixels. */
const SCREEN = [{ maxBitrate: 2_500_000 }];

/**
 * `state`: of the receiving transport; `broken`: there has to be another one; `failed`: something could not be sent.
 * @typedef {{ "state": ConnectionState, "broken": undefined, "failed": SignalingError }} SfuMediaEvents
 */

/** @extends {Emitter<SfuMediaEvents>} */
export class SfuMedia extends Emitter {
  #ask;
  #device;
  /** @type {Transport | null} */
  #sending = null;
  /** @type {Transport | null} */
  #receiving = null;
  /** @type {Partial<Record<"audio" | "video", Producer>>} */
  #producers = {};
  /** @type {Outgoing} */
  #outgoing = { audio: null, video: null, sends: { audio: false, video: false, screen: false } };
  /** Ends when all that is to be sent is; never fails. @type {Promise<unknown>} */
  #applying = Promise.resolve();
  /** When ICE was restarted last, by transport. @type {Map<string, number>} */
  #restarts = new Map();
  #isClosed = false;

  /** @param {{ ask: Ask, device: Device }} options `device`: a new one */
  constructor({ ask, device }) {
    super();
    this.#ask = ask;
    this.#device = device;
  }

  /** Of what is received. @returns {ConnectionState} */
  get state() {
    return this.#receiving?.connectionState ?? "new";
  }

  /** Whether something can be received. */
  get isOpen() {
    return !!this.#receiving && !this.#isClosed;
  }

  /** Makes the two transports. Rejects with a {@link SignalingError}. */
  async open() {
    const { rtpCapabilities: routerRtpCapabilities } = await this.#ask("router:capabilities");
    await this.#device.load({ routerRtpCapabilities });
    const [sending, receiving] = await Promise.all([
      this.#ask("transport:create", { direction: "send" }),
      this.#ask("transport:create", { direction: "recv" }),
    ]);
    if (this.#isClosed) return;
    this.#sending = this.#watch(this.#device.createSendTransport(sending));
    this.#receiving = this.#watch(this.#device.createRecvTransport(receiving));
    this.#sending.on("produce", ({ kind, rtpParameters, appData }, done, fail) => {
      this.#ask("produce", { transportId: sending.id, kind, rtpParameters, appData }).then(done, fail);
    });
    this.#receiving.on("connectionstatechange", (state) => this.tell("state", state));
  }

  /**
   * What is sent from now on.
   * @param {Outgoing} outgoing
   */
  send(outgoing) {
    this.#outgoing = outgoing;
    this.#applying = this.#applying.then(() => this.#apply()).catch((error) => !this.#isClosed && this.tell("failed", error));
  }

  /**
   * A consumer of what a producer sends; nothing comes before `consumer:resume`. Rejects with a {@link SignalingError}.
   * @param {string} producerId
   */
  async consume(producerId) {
    if (!this.#receiving) throw new Error("open it first");
    const rtpCapabilities = this.#device.recvRtpCapabilities;
    const created = await this.#ask("consume", { transportId: this.#receiving.id, producerId, rtpCapabilities });
    return this.#receiving.consume({ ...created, streamId: created.userId });
  }

  /**
   * Ends a consumer that is not wanted: closed here alone, it would stay at the server.
   * @param {import("mediasoup-client").types.Consumer} consumer
   */
  dismiss(consumer) {
    consumer.close();
    // Its source may have ended, and it with that.
    if (!this.#isClosed) this.#ask("consumer:close", { consumerId: consumer.id }).catch(() => {});
  }

  /**
   * A transport through which nothing comes any more: new credentials for it, or, if that does not help, all anew.
   * @param {string} transportId
   */
  async restart(transportId) {
    const transport = [this.#sending, this.#receiving].find((one) => one?.id === transportId);
    if (!transport || this.#isClosed) return;
    const last = this.#restarts.get(transportId) ?? -Infinity;
    // The server and the browser both tell of it, and not at the same time.
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

  /** Ends it here, and at the server if it is still there. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const transport of [this.#sending, this.#receiving]) {
      transport?.close();
      // Where the place is gone, so is the transport.
      if (transport) this.#ask("transport:close", { transportId: transport.id }).catch(() => {});
    }
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
    await this.#applyVideo();
  }

  async #applyAudio() {
    const { audio, sends } = this.#outgoing;
    if (!audio) return this.#stop("audio");
    const producer = (this.#producers.audio ??= await this.#produce({ track: audio, appData: { source: "microphone" } }));
    if (!producer) return;
    if (producer.track !== audio) await producer.replaceTrack({ track: audio });
    if (producer.paused === !sends.audio) return;
    await this.#ask(sends.audio ? "producer:resume" : "producer:pause", { producerId: producer.id });
    if (sends.audio) producer.resume();
    else producer.pause();
  }

  async #applyVideo() {
    const { video, sends } = this.#outgoing;
    const source = sends.screen ? "screen" : "camera";
    const former = this.#producers.video;
    if (former && (!video || former.appData.source !== source)) await this.#stop("video");
    if (!video) return;
    const producer = this.#producers.video;
    if (producer) {
      if (producer.track !== video) await producer.replaceTrack({ track: video });
      return;
    }
    const encodings = sends.screen ? SCREEN : layersOf(video);
    this.#producers.video = await this.#produce({ track: video, encodings, appData: { source, layers: encodings.length } });
  }

  /** @param {import("mediasoup-client").types.ProducerOptions} options */
  async #produce(options) {
    // Devices are not ours to stop, and whether a microphone is muted is said by whoever has it.
    return this.#sending?.produce({ ...options, stopTracks: false, disableTrackOnPause: false });
  }

  /** @param {"audio" | "video"} kind */
  async #stop(kind) {
    const producer = this.#producers[kind];
    if (!producer) return;
    await this.#ask("producer:close", { producerId: producer.id });
    producer.close();
    delete this.#producers[kind];
  }

  #broken() {
    if (!this.#isClosed) this.tell("broken", undefined);
  }
}

/** As many layers as the browser will send of it. @param {MediaStreamTrack} track */
function layersOf(track) {
  const { width = 0, height = 0 } = track.getSettings();
  const count = width * height >= THREE_LAYERS ? 3 : width * height >= TWO_LAYERS ? 2 : 1;
  return LAYERS.slice(-count);
}
