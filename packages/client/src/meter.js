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
 * @property {number | null} loss share of the packets that were lost on the way here, 0 to 1
 * @property {string} codecs of what arrives, such as `VP8, opus`
 * @property {string} pair the addresses of the connection, such as `udp host 10.0.0.2 → srflx 203.0.113.7`
 */

export class Meter {
  /** @type {{ at: number, received: number, sent: number, packets: number, lost: number } | null} */
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

    const now = { at: performance.now(), received: sum("inbound-rtp", "bytesReceived"), sent: sum("outbound-rtp", "bytesSent"),
      packets: sum("inbound-rtp", "packetsReceived"), lost: sum("inbound-rtp", "packetsLost") };
    const last = this.#last ?? now;
    this.#last = now;
    const rate = (/** @type {"received" | "sent"} */ key) =>
      now.at > last.at ? Math.max(0, ((now[key] - last[key]) * 8000) / (now.at - last.at)) : 0;
    const [packets, lost] = [now.packets - last.packets, Math.max(0, now.lost - last.lost)];
    const codecs = new Set(all.filter((one) => one.type === "inbound-rtp").map((one) => report.get(one.codecId)?.mimeType?.split("/")[1]));
    const isRelayed = [pair?.localCandidateId, pair?.remoteCandidateId].some((id) => report.get(id)?.candidateType === "relay");
    return {
      bitrateIn: rate("received"),
      bitrateOut: rate("sent"),
      roundTripTime: pair?.currentRoundTripTime ?? null,
      path: pair ? (isRelayed ? "relayed" : "direct") : "",
      width: video?.frameWidth,
      height: video?.frameHeight,
      framesPerSecond: video?.framesPerSecond,
      loss: packets > 0 ? lost / (packets + lost) : null,
      codecs: [...codecs].filter(Boolean).join(", "),
      pair: pair ? `${describe(report.get(pair.localCandidateId))} → ${describe(report.get(pair.remoteCandidateId))}` : "",
    };
  }
}

/** @param {any} candidate */
function describe(candidate) {
  if (!candidate) return "?";
  return [candidate.protocol, candidate.candidateType, candidate.address].filter(Boolean).join(" ");
}
