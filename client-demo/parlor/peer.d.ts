/**
 * The events of a {@link Peer}: a description and a candidate to send (`null` at the end), the connection's state, {@link Peer#stream}
 * whose tracks have changed, the data channel that opened or that the other side closed, and what it has given to {@link Peer#send}.
 * @typedef {{
 *   "description": RTCSessionDescription,
 *   "candidate": RTCIceCandidateInit | null,
 *   "state": RTCPeerConnectionState,
 *   "stream": MediaStream,
 *   "open": undefined,
 *   "closed": undefined,
 *   "message": any,
 * }} PeerEvents
 */
/**
 * @typedef {object} PeerOptions
 * @property {boolean} [polite] exactly one of the two sides is; left out on both, it is the one whose certificate has the smaller
 *   fingerprint, which both know once their offers have met
 * @property {RTCIceServer[]} [iceServers]
 * @property {() => Promise<RTCIceServer[] | undefined>} [renewIceServers] asked before each restart of ICE, if there are credentials to
 *   renew: those of a TURN server are good for a time
 * @property {MediaStream} outgoing only ties sound and picture together for lip-sync, its tracks are not read
 */
/** @extends {Emitter<PeerEvents>} */
export class Peer extends Emitter<PeerEvents> {
    /** @param {PeerOptions} options */
    constructor({ polite, iceServers, renewIceServers, outgoing }: PeerOptions);
    /** Names this end of the connection, so that a signal meant for an earlier one can be told apart. */
    id: string;
    /** The other end's {@link Peer#id}, once known. @type {string | null} */
    remoteId: string | null;
    /** What is received. */
    stream: MediaStream;
    /** The connection itself, to look at. */
    get connection(): RTCPeerConnection;
    get state(): RTCPeerConnectionState;
    /** Whether the other side can be told to be there without asking the server. */
    get alive(): boolean;
    /**
     * Whether a description comes from another RTCPeerConnection than the one at the other end of this: each has a certificate of its own.
     * @param {RTCSessionDescriptionInit} description
     */
    isStranger(description: RTCSessionDescriptionInit): boolean;
    /** True from {@link Peer#call} until the other side has answered for the first time. */
    get calling(): boolean;
    /** Starts the connection from this side: everything it needs is added, and the offer follows by itself. */
    call(): void;
    /**
     * An offer or an answer from the other side. An answer to what has been answered is let go.
     * @param {RTCSessionDescriptionInit} description
     */
    receiveDescription(description: RTCSessionDescriptionInit): Promise<void | undefined>;
    /**
     * A candidate from the other side; null or empty is the end of candidates. One that belongs to no description taken here is let go:
     * its offer lost against ours, or its connection is no more.
     * @param {RTCIceCandidateInit | null} candidate
     */
    receiveCandidate(candidate: RTCIceCandidateInit | null): Promise<void | undefined>;
    /**
     * Sends this track from now on, or nothing. Renegotiates only when a kind is sent for the first time.
     * @param {Kind} kind
     * @param {MediaStreamTrack | null} track
     */
    setTrack(kind: Kind, track: MediaStreamTrack | null): Promise<void>;
    /**
     * Sends the video smaller by this factor.
     * @param {number} factor 1 or more
     */
    setVideoScale(factor: number): void;
    /**
     * Signaling is back, or the other side is: repeats an offer that may be lost, and restarts ICE where media does not flow.
     * @param {RTCIceServer[]} [iceServers] newer ones: the credentials of a TURN server are good for a limited time
     */
    resume(iceServers?: RTCIceServer[]): void;
    /**
     * @param {unknown} message anything JSON can carry
     * @returns {boolean} whether the data channel took it
     */
    send(message: unknown): boolean;
    /** What went over the connection since the last call. */
    stats(): Promise<import("./meter.js").PeerStats>;
    /** How loud the other side is right now, 0 to 1. */
    get audioLevel(): number;
    /** Ends it; the other side's data channel closes at once. */
    close(): void;
    #private;
}
export type Kind = "audio" | "video";
/**
 * The events of a {@link Peer}: a description and a candidate to send (`null` at the end), the connection's state, {@link Peer#stream}
 * whose tracks have changed, the data channel that opened or that the other side closed, and what it has given to {@link Peer#send}.
 */
export type PeerEvents = {
    "description": RTCSessionDescription;
    "candidate": RTCIceCandidateInit | null;
    "state": RTCPeerConnectionState;
    "stream": MediaStream;
    "open": undefined;
    "closed": undefined;
    "message": any;
};
export type PeerOptions = {
    /**
     * exactly one of the two sides is; left out on both, it is the one whose certificate has the smaller
     * fingerprint, which both know once their offers have met
     */
    polite?: boolean | undefined;
    iceServers?: RTCIceServer[] | undefined;
    /**
     * asked before each restart of ICE, if there are credentials to
     * renew: those of a TURN server are good for a time
     */
    renewIceServers?: (() => Promise<RTCIceServer[] | undefined>) | undefined;
    /**
     * only ties sound and picture together for lip-sync, its tracks are not read
     */
    outgoing: MediaStream;
};
import { Emitter } from "./emitter.js";
