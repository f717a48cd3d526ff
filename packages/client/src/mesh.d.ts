/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** @typedef {import("./signaling.js").Link} Link */
/** @typedef {Record<import("./peer.js").Kind, MediaStreamTrack | null>} Tracks */
/** The media that a member announces. @typedef {{ audio: boolean, video: boolean, screen: boolean }} Sends */
/** @type {Tracks} */
export const NO_TRACKS: Tracks;
/**
 * A member of the call.
 * @typedef {object} Member
 * @property {string} id the `userId`
 * @property {string} name
 * @property {Peer | null} peer null until the first offer
 * @property {boolean} away lost its connection to the server and may resume; media may still flow
 * @property {boolean} listed in the room, according to the server
 * @property {Sends | null} sends null: not announced
 * @property {boolean} unnamed the server reports no name, so the peer may send one
 * @property {boolean} anonymous the server does not report presence: only the peer connection shows it
 * @property {boolean} [elsewhere] in the room, but not in the mesh: uses the media server, and there is no connection
 * @property {boolean} expected called, without any response so far; not shown
 */
/**
 * The events of a {@link Mesh}. `changed`: the connection's state, the name, `away` or `sends` has changed; `stream`: the tracks of
 * `peer.stream` have changed.
 * @typedef {{
 *   "joined": Member,
 *   "changed": Member,
 *   "stream": Member,
 *   "left": Member & { reason: string },
 *   "chat": { member: Member, text: string },
 * }} MeshEvents
 */
/**
 * @typedef {object} MeshOptions
 * @property {import("./signaling.js").Signaling} signaling over any protocol
 * @property {string} [name] sent to peers whose protocol carries no names
 * @property {RTCIceServer[]} [iceServers] used instead of the server's
 * @property {import("./signaling.js").SignalingEvents["room-users"]} [present] the room, if it was joined before
 */
/** @extends {Emitter<MeshEvents>} */
export class Mesh extends Emitter<MeshEvents> {
    /** @param {MeshOptions} options create the mesh before joining, so that no event of the room is missed */
    constructor({ signaling, name, iceServers, present }: MeshOptions);
    /** The members of the call. @returns {Map<string, Member>} a copy */
    get members(): Map<string, Member>;
    /**
     * Sets the tracks that all members receive.
     * @param {Partial<Tracks>} tracks a kind that is missing is no longer sent
     * @param {Partial<Sends>} [sends] what to announce; by default, the given tracks
     */
    send(tracks: Partial<Tracks>, sends?: Partial<Sends>): void;
    /**
     * Sends a message over the data channels, for members that the server does not reach; otherwise use {@link Signaling#message}.
     * @param {string} text
     * @returns {number} number of recipients
     */
    chat(text: string): number;
    /** Closes all peer connections. The signaling is unaffected. */
    close(): void;
    #private;
}
export type User = import("./signaling.js").User;
export type SignalingError = import("./signaling-error.js").SignalingError;
export type Link = import("./signaling.js").Link;
export type Tracks = Record<import("./peer.js").Kind, MediaStreamTrack | null>;
/**
 * The media that a member announces.
 */
export type Sends = {
    audio: boolean;
    video: boolean;
    screen: boolean;
};
/**
 * A member of the call.
 */
export type Member = {
    /**
     * the `userId`
     */
    id: string;
    name: string;
    /**
     * null until the first offer
     */
    peer: Peer | null;
    /**
     * lost its connection to the server and may resume; media may still flow
     */
    away: boolean;
    /**
     * in the room, according to the server
     */
    listed: boolean;
    /**
     * null: not announced
     */
    sends: Sends | null;
    /**
     * the server reports no name, so the peer may send one
     */
    unnamed: boolean;
    /**
     * the server does not report presence: only the peer connection shows it
     */
    anonymous: boolean;
    /**
     * in the room, but not in the mesh: uses the media server, and there is no connection
     */
    elsewhere?: boolean | undefined;
    /**
     * called, without any response so far; not shown
     */
    expected: boolean;
};
/**
 * The events of a {@link Mesh}. `changed`: the connection's state, the name, `away` or `sends` has changed; `stream`: the tracks of
 * `peer.stream` have changed.
 */
export type MeshEvents = {
    "joined": Member;
    "changed": Member;
    "stream": Member;
    "left": Member & {
        reason: string;
    };
    "chat": {
        member: Member;
        text: string;
    };
};
export type MeshOptions = {
    /**
     * over any protocol
     */
    signaling: import("./signaling.js").Signaling;
    /**
     * sent to peers whose protocol carries no names
     */
    name?: string | undefined;
    /**
     * used instead of the server's
     */
    iceServers?: RTCIceServer[] | undefined;
    /**
     * the room, if it was joined before
     */
    present?: Omit<import("./signaling.js").Joined, "roomId"> | undefined;
};
import { Emitter } from "./emitter.js";
import { Peer } from "./peer.js";
