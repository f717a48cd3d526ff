/**
 * What comes from one person through the media server, put together: one stream, as {@link Peer} has one, and its statistics.
 *
 * @module sfu-peer
 */
import { Meter } from "./meter.js";

/** @typedef {import("mediasoup-client").types.Consumer} Consumer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */

/**
 * The layers of a picture: `count` that are sent, `current` which the server forwards (null: it has not said), `wanted` the best asked
 * for. The lowest is 0.
 * @typedef {{ count: number, current: number | null, wanted: number }} Layers
 */

export class SfuPeer {
  /** What is received. */
  stream = new MediaStream();
  /** Of the picture; null while there is none. @type {Layers | null} */
  layers = null;

  /** @type {Map<"audio" | "video", Consumer>} */
  #consumers = new Map();
  #meter = new Meter();
  #stateOfLine;

  /** @param {() => ConnectionState} stateOfLine of the one connection that all of them come over */
  constructor(stateOfLine) {
    this.#stateOfLine = stateOfLine;
  }

  /** That of the connection; while nothing is sent there is nothing to wait for. @returns {ConnectionState} */
  get state() {
    const state = this.#stateOfLine();
    return state === "new" && !this.#consumers.size ? "connected" : state;
  }

  /** @param {"audio" | "video"} kind */
  consumer(kind) {
    return this.#consumers.get(kind);
  }

  /** @param {Consumer} consumer @param {number} layers how many there are of it */
  add(consumer, layers) {
    this.remove(consumer.kind);
    this.#consumers.set(consumer.kind, consumer);
    this.stream.addTrack(consumer.track);
    if (consumer.kind === "video") this.layers = { count: layers, current: null, wanted: layers - 1 };
  }

  /** @param {"audio" | "video"} kind */
  remove(kind) {
    const consumer = this.#consumers.get(kind);
    if (!consumer) return;
    this.#consumers.delete(kind);
    this.stream.removeTrack(consumer.track);
    consumer.close();
    if (kind === "video") this.layers = null;
  }

  clear() {
    this.remove("audio");
    this.remove("video");
  }

  /** Of what comes from this person alone. @returns {Promise<RTCStatsReport>} */
  async getStats() {
    const reports = await Promise.all([...this.#consumers.values()].map((consumer) => consumer.getStats()));
    const all = new Map(reports.flatMap((report) => [.../** @type {Map<string, any>} */ (/** @type {unknown} */ (report))]));
    return /** @type {RTCStatsReport} */ (/** @type {unknown} */ (all));
  }

  /** What came since the last call. */
  async stats() {
    const stats = this.#meter.read(await this.getStats());
    return { ...stats, path: stats.path && /** @type {const} */ ("forwarded") };
  }

  /** How loud they are right now, 0 to 1. */
  get audioLevel() {
    return this.#consumers.get("audio")?.rtpReceiver?.getSynchronizationSources?.()[0]?.audioLevel ?? 0;
  }
}
