/**
 * Someone in the call.
 * @typedef {object} Member
 * @property {string} id the `userId`
 * @property {string} name
 * @property {Peer | null} peer null until the first offer
 * @property {boolean} away lost the server, may come back; media may well flow
 * @property {boolean} listed in the room, as far as the server knows
 * @property {Sends | null} sends null: has not said
 * @property {boolean} unnamed the server knows no name of theirs, so they may say it themselves
 * @property {boolean} anonymous the server does not even say whether they are here: the connection to them is all there is
 * @property {boolean} [elsewhere] in the room, and in no mesh: their media goes through the media server, and there is no connection to them
 * @property {boolean} expected called, and not heard of yet; such a one is not shown
 */
/**
 * The events of a {@link Mesh}. `changed`: the state of the connection, the name, whether they are away, what they send; `stream`: the
 * tracks in `peer.stream`.
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
 * @property {import("./signaling.js").Signaling} signaling any of the wires
 * @property {string} [name] told to those to whom the server names nobody
 * @property {RTCIceServer[]} [iceServers] in place of those the server names
 */
/** @extends {Emitter<MeshEvents>} */
export class Mesh extends Emitter<MeshEvents> {
    /** @param {MeshOptions} options made before joining, so that no event of the room is missed */
    constructor({ signaling, name, iceServers }: MeshOptions);
    /** Who is in the call. @returns {Map<string, Member>} a copy */
    get members(): Map<string, Member>;
    /**
     * What everybody gets from now on.
     * @param {Partial<Tracks>} tracks a kind that is left out is sent no more
     * @param {Partial<Sends>} [sends] what to say of them; by default, that what is there is sent, and is no screen
     */
    send({ audio, video }: Partial<Tracks>, sends?: Partial<Sends>): void;
    /**
     * @param {string} text
     * @returns {number} how many will read it
     */
    chat(text: string): number;
    /** Ends every connection. The signaling is left alone. */
    close(): void;
    #private;
}
export type User = import("./signaling.js").User;
export type SignalingError = import("./signaling-error.js").SignalingError;
export type Link = import("./signaling.js").Link;
export type Tracks = Record<import("./peer.js").Kind, MediaStreamTrack | null>;
/**
 * What someone says they send.
 */
export type Sends = {
    audio: boolean;
    video: boolean;
    screen: boolean;
};
/**
 * Someone in the call.
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
     * lost the server, may come back; media may well flow
     */
    away: boolean;
    /**
     * in the room, as far as the server knows
     */
    listed: boolean;
    /**
     * null: has not said
     */
    sends: Sends | null;
    /**
     * the server knows no name of theirs, so they may say it themselves
     */
    unnamed: boolean;
    /**
     * the server does not even say whether they are here: the connection to them is all there is
     */
    anonymous: boolean;
    /**
     * in the room, and in no mesh: their media goes through the media server, and there is no connection to them
     */
    elsewhere?: boolean | undefined;
    /**
     * called, and not heard of yet; such a one is not shown
     */
    expected: boolean;
};
/**
 * The events of a {@link Mesh}. `changed`: the state of the connection, the name, whether they are away, what they send; `stream`: the
 * tracks in `peer.stream`.
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
     * any of the wires
     */
    signaling: import("./signaling.js").Signaling;
    /**
     * told to those to whom the server names nobody
     */
    name?: string | undefined;
    /**
     * in place of those the server names
     */
    iceServers?: RTCIceServer[] | undefined;
};
import { Emitter } from "./emitter.js";
import { Peer } from "./peer.js";
