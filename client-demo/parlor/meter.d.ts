/**
 * What a connection's statistics say, in the few figures that a person may want to see.
 *
 * @module meter
 */
/**
 * What went over a connection since the last time it was asked.
 * @typedef {object} PeerStats
 * @property {number} bitrateIn bits per second
 * @property {number} bitrateOut bits per second
 * @property {number | null} roundTripTime in seconds
 * @property {"direct" | "relayed" | "forwarded" | ""} path the last: through the media server
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [framesPerSecond]
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
 * What went over a connection since the last time it was asked.
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
     * the last: through the media server
     */
    path: "direct" | "relayed" | "forwarded" | "";
    width?: number | undefined;
    height?: number | undefined;
    framesPerSecond?: number | undefined;
};
