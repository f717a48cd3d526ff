/**
 * Reduces a connection's statistics to a few figures for users.
 *
 * @module meter
 */

/**
 * The traffic of a connection since the last call.
 * @typedef {object} PeerStats
 * @property {number} bitrateIn bits per second
 * @property {number} bitrateOut bits per second
 * @property {number | null} roundTripTime in seconds
 * @property {"direct" | "relayed" | "forwarded" | ""} path `forwarded`: through the media server
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [framesPerSecond]
 */

export class Meter {
  /** @type {{ at: number, received: number, sent: number } | null} */
  #last = null;

  /**
   * @param {RTCStatsReport} report
   * @returns {PeerStats}
   */
  read(report) {
    // Available statistics differ between browsers; missing ones are omitted.
    const all = [.../** @type {Map<string, any>} */ (/** @type {unknown} */ (report)).values()];
    const sum = (/** @type {string} */ type, /** @type {string} */ key) =>
      all.filter((one) => one.type === type).reduce((total, one) => total + (one[key] ?? 0), 0);
    const transport = all.find((one) => one.type === "transport");
    const pair =
      report.get(transport?.selectedCandidatePairId) ??
      all.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
    const video = all.find((one) => one.type === "inbound-rtp" && one.kind === "video");

    const now = { at: performance.now(), received: sum("inbound-rtp", "bytesReceived"), sent: sum("outbound-rtp", "bytesSent") };
    const last = this.#last ?? now;
    this.#last = now;
    const rate = (/** @type {"received" | "sent"} */ key) =>
      now.at > last.at ? Math.max(0, ((now[key] - last[key]) * 8000) / (now.at - last.at)) : 0;
    const isRelayed = [pair?.localCandidateId, pair?.remoteCandidateId].some((id) => report.get(id)?.candidateType === "relay");
    return {
      bitrateIn: rate("received"),
      bitrateOut: rate("sent"),
      roundTripTime: pair?.currentRoundTripTime ?? null,
      path: pair ? (isRelayed ? "relayed" : "direct") : "",
      width: video?.frameWidth,
      height: video?.frameHeight,
      framesPerSecond: video?.framesPerSecond,
    };
  }
}
