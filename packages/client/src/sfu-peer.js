/**
 * The media of one peer through the media server: its streams, like those of {@link Peer}, and its statistics.
 *
 * @module sfu-peer
 */
import { Meter } from "./meter.js";

/** @typedef {import("mediasoup-client").types.Consumer} Consumer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/** Kinds of media of a peer. @typedef {import("./peer.js").Kind} Kind */

/**
 * The layers of a video: `count` sent, `current` the forwarded one (null: not reported), `wanted` the best requested. The lowest is 0.
 * @typedef {{ count: number, current: number | null, wanted: number }} Layers
 */

export class SfuPeer {
  /** The received tracks of microphone and camera. */
  stream = new MediaStream();
  /** The received tracks of a shared screen. */
  screen = new MediaStream();
  /** The layers of the camera; null while there is none. @type {Layers | null} */
  layers = null;

  /** @type {Map<Kind, Consumer>} */
  #consumers = new Map();
  #meter = new Meter();
  #connectionState;

  /** @param {() => ConnectionState} connectionState state of the connection to the media server, which all peers share */
  constructor(connectionState) {
    this.#connectionState = connectionState;
  }

  /** The state of the connection; `connected` if nothing is received. @returns {ConnectionState} */
  get state() {
    const state = this.#connectionState();
    return state === "new" && !this.#consumers.size ? "connected" : state;
  }

  /** @param {Kind} kind */
  consumer(kind) {
    return this.#consumers.get(kind);
  }

  /** @param {Kind} kind @param {Consumer} consumer @param {number} layers number of layers */
  add(kind, consumer, layers) {
    this.remove(kind);
    this.#consumers.set(kind, consumer);
    this.#streamOf(kind).addTrack(consumer.track);
    if (kind === "video") this.layers = { count: layers, current: null, wanted: layers - 1 };
  }

  /** @param {Kind} kind */
  remove(kind) {
    const consumer = this.#consumers.get(kind);
    if (!consumer) return;
    this.#consumers.delete(kind);
    this.#streamOf(kind).removeTrack(consumer.track);
    consumer.close();
    if (kind === "video") this.layers = null;
  }

  clear() {
    for (const kind of [...this.#consumers.keys()]) this.remove(kind);
  }

  /** The statistics of this peer's media. @returns {Promise<RTCStatsReport>} */
  async getStats() {
    const reports = await Promise.all([...this.#consumers.values()].map((consumer) => consumer.getStats()));
    const all = new Map(reports.flatMap((report) => [.../** @type {Map<string, any>} */ (/** @type {unknown} */ (report))]));
    return /** @type {RTCStatsReport} */ (/** @type {unknown} */ (all));
  }

  /** The traffic since the last call. */
  async stats() {
    const stats = this.#meter.read(await this.getStats());
    return { ...stats, path: stats.path && /** @type {const} */ ("forwarded") };
  }

  /** The current audio level, 0 to 1. */
  get audioLevel() {
    return this.#consumers.get("audio")?.rtpReceiver?.getSynchronizationSources?.()[0]?.audioLevel ?? 0;
  }

  /** @param {Kind} kind */
  #streamOf(kind) {
    return kind === "screen" || kind === "screenAudio" ? this.screen : this.stream;
  }
}
