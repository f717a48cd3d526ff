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
    /**
     * @param {RTCStatsReport} report
     * @returns {PeerStats}
     */
    read(report: RTCStatsReport): PeerStats;
    #private;
}
/**
 * The traffic of a connection since the last call.
 */
export type PeerStats = {
    /**
     * bits per second
     */
    bitrateIn: number;
    /**
     * bits per second
     */
    bitrateOut: number;
    /**
     * in seconds
     */
    roundTripTime: number | null;
    /**
     * `forwarded`: through the media server
     */
    path: "direct" | "relayed" | "forwarded" | "";
    width?: number | undefined;
    height?: number | undefined;
    framesPerSecond?: number | undefined;
    /**
     * share of the packets that were lost on the way here, 0 to 1
     */
    loss: number | null;
    /**
     * of what arrives, such as `VP8, opus`
     */
    codecs: string;
    /**
     * the addresses of the connection, such as `udp host 10.0.0.2 → srflx 203.0.113.7`
     */
    pair: string;
};
