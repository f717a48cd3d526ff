/** @typedef {import("mediasoup-client").types.Consumer} Consumer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/**
 * The layers of a video: `count` sent, `current` the forwarded one (null: not reported), `wanted` the best requested. The lowest is 0.
 * @typedef {{ count: number, current: number | null, wanted: number }} Layers
 */
export class SfuPeer {
    /** @param {() => ConnectionState} stateOfLine state of the connection to the media server, which all peers share */
    constructor(stateOfLine: () => ConnectionState);
    /** The received tracks. */
    stream: MediaStream;
    /** The layers of the video; null while there is none. @type {Layers | null} */
    layers: Layers | null;
    /** The state of the connection; `connected` if nothing is received. @returns {ConnectionState} */
    get state(): ConnectionState;
    /** @param {"audio" | "video"} kind */
    consumer(kind: "audio" | "video"): import("mediasoup-client/types").Consumer<import("mediasoup-client/types").AppData> | undefined;
    /** @param {Consumer} consumer @param {number} layers number of layers */
    add(consumer: Consumer, layers: number): void;
    /** @param {"audio" | "video"} kind */
    remove(kind: "audio" | "video"): void;
    clear(): void;
    /** The statistics of this peer's media. @returns {Promise<RTCStatsReport>} */
    getStats(): Promise<RTCStatsReport>;
    /** The traffic since the last call. */
    stats(): Promise<{
        path: "" | "forwarded";
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
        width?: number | undefined;
        height?: number | undefined;
        framesPerSecond?: number | undefined;
    }>;
    /** The current audio level, 0 to 1. */
    get audioLevel(): number;
    #private;
}
export type Consumer = import("mediasoup-client").types.Consumer;
export type ConnectionState = import("mediasoup-client").types.ConnectionState;
/**
 * The layers of a video: `count` sent, `current` the forwarded one (null: not reported), `wanted` the best requested. The lowest is 0.
 */
export type Layers = {
    count: number;
    current: number | null;
    wanted: number;
};
