/** @typedef {import("mediasoup-client").types.Consumer} Consumer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/**
 * The layers of a picture: `count` that are sent, `current` which the server forwards (null: it has not said), `wanted` the best asked
 * for. The lowest is 0.
 * @typedef {{ count: number, current: number | null, wanted: number }} Layers
 */
export class SfuPeer {
    /** @param {() => ConnectionState} stateOfLine of the one connection that all of them come over */
    constructor(stateOfLine: () => ConnectionState);
    /** What is received. */
    stream: MediaStream;
    /** Of the picture; null while there is none. @type {Layers | null} */
    layers: Layers | null;
    /** That of the connection; while nothing is sent there is nothing to wait for. @returns {ConnectionState} */
    get state(): ConnectionState;
    /** @param {"audio" | "video"} kind */
    consumer(kind: "audio" | "video"): import("mediasoup-client/types").Consumer<import("mediasoup-client/types").AppData> | undefined;
    /** @param {Consumer} consumer @param {number} layers how many there are of it */
    add(consumer: Consumer, layers: number): void;
    /** @param {"audio" | "video"} kind */
    remove(kind: "audio" | "video"): void;
    clear(): void;
    /** Of what comes from this person alone. @returns {Promise<RTCStatsReport>} */
    getStats(): Promise<RTCStatsReport>;
    /** What came since the last call. */
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
    /** How loud they are right now, 0 to 1. */
    get audioLevel(): number;
    #private;
}
export type Consumer = import("mediasoup-client").types.Consumer;
export type ConnectionState = import("mediasoup-client").types.ConnectionState;
/**
 * The layers of a picture: `count` that are sent, `current` which the server forwards (null: it has not said), `wanted` the best asked
 * for. The lowest is 0.
 */
export type Layers = {
    count: number;
    current: number | null;
    wanted: number;
};
