/** @typedef {import("mediasoup-client").types.Consumer} Consumer */
/** @typedef {import("mediasoup-client").types.ConnectionState} ConnectionState */
/** Kinds of media of a peer. @typedef {import("./peer.js").Kind} Kind */
/**
 * The layers of a video: `count` sent, `current` the forwarded one (null: not reported), `wanted` the best requested. The lowest is 0.
 * @typedef {{ count: number, current: number | null, wanted: number }} Layers
 */
export class SfuPeer {
    /** @param {() => ConnectionState} connectionState state of the connection to the media server, which all peers share */
    constructor(connectionState: () => ConnectionState);
    /** The received tracks of microphone and camera. */
    stream: MediaStream;
    /** The received tracks of a shared screen. */
    screen: MediaStream;
    /** The layers of the camera; null while there is none. @type {Layers | null} */
    layers: Layers | null;
    /** The state of the connection; `connected` if nothing is received. @returns {ConnectionState} */
    get state(): ConnectionState;
    /** @param {Kind} kind */
    consumer(kind: Kind): import("mediasoup-client/types").Consumer<import("mediasoup-client/types").AppData> | undefined;
    /** @param {Kind} kind @param {Consumer} consumer @param {number} layers number of layers */
    add(kind: Kind, consumer: Consumer, layers: number): void;
    /** @param {Kind} kind */
    remove(kind: Kind): void;
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
    }>;
    /** The current audio level, 0 to 1. */
    get audioLevel(): number;
    #private;
}
export type Consumer = import("mediasoup-client").types.Consumer;
export type ConnectionState = import("mediasoup-client").types.ConnectionState;
/**
 * Kinds of media of a peer.
 */
export type Kind = import("./peer.js").Kind;
/**
 * The layers of a video: `count` sent, `current` the forwarded one (null: not reported), `wanted` the best requested. The lowest is 0.
 */
export type Layers = {
    count: number;
    current: number | null;
    wanted: number;
};
