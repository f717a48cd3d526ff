/**
 * The events of a {@link Peer}: a description or candidate to send (`null` at the end), the connection's state, {@link Peer#stream} when
 * its tracks have changed, the data channel has opened or was closed by the other side, a message of its {@link Peer#send}.
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
 * @property {boolean} [polite] exactly one of the two sides is polite; if omitted on both, it is the side whose certificate has the smaller
 *   fingerprint, which both know after a collision of their offers
 * @property {RTCIceServer[]} [iceServers]
 * @property {() => Promise<RTCIceServer[] | undefined>} [renewIceServers] called before each ICE restart if there are credentials to renew,
 *   since TURN credentials expire
 * @property {MediaStream} outgoing synchronizes audio and video; its tracks are not used
 */
/** @extends {Emitter<PeerEvents>} */
export class Peer extends Emitter<PeerEvents> {
    /** @param {PeerOptions} options */
    constructor({ polite, iceServers, renewIceServers, outgoing }: PeerOptions);
    /** Identifies this end of the connection, so that signals for an earlier one can be distinguished. */
    id: string;
    /** The other end's {@link Peer#id}, once known. @type {string | null} */
    remoteId: string | null;
    /** The received tracks of microphone and camera: the first audio and the first video in the descriptions. */
    stream: MediaStream;
    /** The received tracks of a shared screen: the further ones. */
    screen: MediaStream;
    /** The underlying connection, for inspection. */
    get connection(): RTCPeerConnection;
    get state(): RTCPeerConnectionState;
    /** Whether the data channel is open, so that the other side is reachable without the server. */
    get alive(): boolean;
    /**
     * Whether a description comes from a different RTCPeerConnection than the current one: each has a certificate of its own.
     * @param {RTCSessionDescriptionInit} description
     */
    isStranger(description: RTCSessionDescriptionInit): boolean;
    /** True from {@link Peer#call} until the first answer of the other side. */
    get calling(): boolean;
    /** Starts the connection from this side: adds tracks and the data channel, which triggers the offer. */
    call(): void;
    /**
     * Processes an offer or answer of the other side. An answer to an offer that is already answered is ignored.
     * @param {RTCSessionDescriptionInit} description
     */
    receiveDescription(description: RTCSessionDescriptionInit): Promise<void | undefined>;
    /**
     * Processes a candidate of the other side; null or empty is the end of candidates. A candidate that belongs to no accepted description is
     * ignored: its offer lost a collision, or its connection is closed.
     * @param {RTCIceCandidateInit | null} candidate
     */
    receiveCandidate(candidate: RTCIceCandidateInit | null): Promise<void | undefined>;
    /**
     * Sends this track, or nothing. Renegotiates when a kind is sent for the first time, and when a screen begins or ends.
     * @param {Kind} kind
     * @param {MediaStreamTrack | null} track
     */
    setTrack(kind: Kind, track: MediaStreamTrack | null): Promise<void>;
    /**
     * Scales the sent video down by this factor.
     * @param {number} factor 1 or more
     */
    setVideoScale(factor: number): void;
    /**
     * To be called when signaling or the other side is back: repeats an offer that may be lost, and restarts ICE if media does not flow.
     * @param {RTCIceServer[]} [iceServers] new ones, since TURN credentials expire
     */
    resume(iceServers?: RTCIceServer[]): void;
    /**
     * @param {unknown} message any JSON value
     * @returns {boolean} whether the data channel accepted it
     */
    send(message: unknown): boolean;
    /** The traffic of the connection since the last call. */
    stats(): Promise<import("./meter.js").PeerStats>;
    /** The current audio level of the other side, 0 to 1. */
    get audioLevel(): number;
    /** Closes the connection; the other side's data channel closes at once. */
    close(): void;
    #private;
}
/**
 * Kinds of sent media: microphone, camera, and additionally a screen with its audio.
 */
export type Kind = "audio" | "video" | "screen" | "screenAudio";
/**
 * The events of a {@link Peer}: a description or candidate to send (`null` at the end), the connection's state, {@link Peer#stream} when
 * its tracks have changed, the data channel has opened or was closed by the other side, a message of its {@link Peer#send}.
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
     * exactly one of the two sides is polite; if omitted on both, it is the side whose certificate has the smaller
     * fingerprint, which both know after a collision of their offers
     */
    polite?: boolean | undefined;
    iceServers?: RTCIceServer[] | undefined;
    /**
     * called before each ICE restart if there are credentials to renew,
     * since TURN credentials expire
     */
    renewIceServers?: (() => Promise<RTCIceServer[] | undefined>) | undefined;
    /**
     * synchronizes audio and video; its tracks are not used
     */
    outgoing: MediaStream;
};
import { Emitter } from "./emitter.js";
