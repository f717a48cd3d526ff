/**
 * A user by what the server says of it, and by the known fields of what the peer says about itself.
 * @param {{ userId: string, socketId?: string, roomId?: string | null, joinedAt?: string }} peer
 * @param {any} [metadata] whatever the peer has written there
 * @returns {User}
 */
export function asUser({ userId, socketId, roomId, joinedAt }: {
    userId: string;
    socketId?: string;
    roomId?: string | null;
    joinedAt?: string;
}, metadata?: any): User;
/** How long a request may take before it fails with the code `TIMEOUT`, in milliseconds. */
export const ANSWER_TIMEOUT_MS: 8000;
/**
 * The pause before the first attempt to come back and the longest there is, in milliseconds, and the part of a pause that is left to
 * chance: quick first, then patient, and not everybody in the instant in which a server is up again.
 */
export const RETRY: Readonly<{
    firstMs: 500;
    longestMs: 4000;
    chance: 0.5;
}>;
/**
 * A member of the room as the server describes it. Of what peers say about themselves, only `name` and `media` are here: other fields of
 * their metadata are ignored, since these names are the module's own.
 * @typedef {object} User
 * @property {string} id the same as `userId`
 * @property {string} userId
 * @property {string} [roomId]
 * @property {string} [socketId]
 * @property {string} [joinedAt] ISO 8601
 * @property {string} [name]
 * @property {boolean} [anonymous] the wire tells nothing of them
 * @property {boolean} [expected] they may not be here yet: call them, and show them once they answer
 * @property {boolean} [calling] their offer is the next event
 * @property {"sfu"} [media] theirs goes through the media server: they are in no mesh
 */
/**
 * Names the two ends of a connection: `mesh.js` sends it along.
 * @typedef {{ from: string, to: string | null }} Link
 */
/**
 * What every relayed signal has; other keys are the sender's.
 * @typedef {{ from: string, user?: User, link?: Link }} Relayed `user`: the sender, where no list has named them
 */
/**
 * What a join is answered.
 * @typedef {{ roomId: string, userId?: string, users: User[], iceServers?: RTCIceServer[] }} Joined `userId`: one's own
 */
/**
 * The events of a {@link Signaling}, by name. `room-users` comes at every join and re-join; after `ended` one is out of the room, and does
 * not come back by oneself; `message` is what a wire tells besides.
 * @typedef {{
 *   "room-users": Omit<Joined, "roomId">,
 *   "user-joined": User, "user-away": User, "user-back": User,
 *   "user-left": User & { reason?: string },
 *   "offer": Relayed & { offer: RTCSessionDescriptionInit },
 *   "answer": Relayed & { answer: RTCSessionDescriptionInit },
 *   "ice-candidate": Relayed & { candidate: RTCIceCandidateInit | null },
 *   "offline": { reason: string, code: string },
 *   "online": { recovered: boolean },
 *   "ended": SignalingError,
 *   "message": { type: string, payload: any },
 * }} SignalingEvents
 */
/**
 * @typedef {object} SignalingOptions
 * @property {string} [url] where Parlor is; by default, where the page came from
 * @property {string} [token] where the server asks for one
 */
/** @typedef {"offer" | "answer" | "candidate"} SignalKind */
/** @typedef {RTCSessionDescriptionInit | RTCIceCandidateInit | null} SignalBody */
/**
 * A place in a room, over whichever wire.
 *
 * A wire says how to get in ({@link Signaling#enter}), how to send ({@link Signaling#transmit}), how to come back
 * ({@link Signaling#comeBack}), how to hang up ({@link Signaling#disconnect}), and calls {@link Signaling#arrived} and
 * {@link Signaling#dropped}.
 * @extends {Emitter<SignalingEvents>}
 * @abstract
 */
export class Signaling extends Emitter<SignalingEvents> {
    /** @param {SignalingOptions} [options] */
    constructor({ url, token }?: SignalingOptions);
    /** By which the others know one; undefined where nobody has one, or there is none yet. @type {string | undefined} */
    get userId(): string | undefined;
    /** Whether one is in the room, over a connection that is up, at this moment. */
    get online(): boolean;
    /** The room to be in, or null. It survives a dropped connection. */
    get roomId(): string | null;
    /**
     * Connects and joins. Rejects with a {@link SignalingError}, and then nothing is left running.
     * @param {string} roomId
     * @returns {Promise<Joined>}
     */
    join(roomId: string): Promise<Joined>;
    /** Leaves the room and hangs up. Safe while a page is being closed: nothing is awaited. */
    leave(): void;
    /** Hangs up. The server takes this as a goodbye. */
    close(): void;
    /**
     * Each resolves once the signal is in the target's queue, and rejects with a {@link SignalingError} otherwise. While the connection is
     * down they wait, and fail with `OFFLINE` if the place in the room is lost. One whose answer was lost is sent again, so that the target
     * may hear it twice.
     * @param {string} targetId the peer's `userId`
     * @param {RTCSessionDescriptionInit} offer
     * @param {object} [extra] more keys for the receiver, where the wire carries them
     * @returns {Promise<void>}
     */
    offer(targetId: string, offer: RTCSessionDescriptionInit, extra?: object): Promise<void>;
    /**
     * @param {string} targetId
     * @param {RTCSessionDescriptionInit} answer
     * @param {object} [extra]
     * @returns {Promise<void>}
     */
    answer(targetId: string, answer: RTCSessionDescriptionInit, extra?: object): Promise<void>;
    /**
     * @param {string} targetId
     * @param {RTCIceCandidateInit | null} candidate `null` is the end of candidates
     * @param {object} [extra]
     * @returns {Promise<void>}
     */
    candidate(targetId: string, candidate: RTCIceCandidateInit | null, extra?: object): Promise<void>;
    /**
     * The STUN and TURN servers that the server names at this moment. The credentials of those that a join has brought are good for a time.
     * @returns {Promise<RTCIceServer[] | undefined>} undefined if they cannot be had
     */
    iceServers(): Promise<RTCIceServer[] | undefined>;
    /**
     * Brings a newer token of the same person: to the connection there is, where the wire can, and to all that follow.
     * @param {string} token
     * @returns {Promise<void>} rejects with a {@link SignalingError}; the one before stays in force then
     */
    renew(token: string): Promise<void>;
    /** @protected */
    protected get token(): string | undefined;
    /** Has been in the room, so that a dropped connection is one to come back from. @protected */
    protected get joined(): boolean;
    /**
     * An address at the server.
     * @param {string} path
     * @protected
     */
    protected address(path: string): URL;
    /**
     * Connects, and gets into the room.
     * @param {string} _roomId
     * @returns {Promise<Joined>}
     * @abstract
     * @protected
     */
    protected enter(_roomId: string): Promise<Joined>;
    /**
     * Sends a signal; fails with `OFFLINE` where there is no connection, or it breaks before there is an answer.
     * @param {SignalKind} _kind
     * @param {string} _targetId
     * @param {any} _body a {@link SignalBody}
     * @param {object} [_extra]
     * @returns {Promise<unknown>}
     * @abstract
     * @protected
     */
    protected transmit(_kind: SignalKind, _targetId: string, _body: any, _extra?: object): Promise<unknown>;
    /** One attempt to be in the room again; calls {@link Signaling#arrived} or {@link Signaling#refused}. @abstract @protected */
    protected comeBack(): void;
    /** The browser says that there is no network. @protected */
    protected networkLost(): void;
    /** The browser says that there is a network again: no reason to wait any longer. @protected */
    protected networkBack(): void;
    /** Ends the connection. @abstract @protected */
    protected disconnect(): void;
    /** The last thing to say before closing, where closing is not enough. @param {string} _roomId @protected */
    protected goodbye(_roomId: string): void;
    /** Shows the server a newer token, where the wire has a word for that. @param {string} _token @returns {Promise<unknown>} @protected */
    protected authenticate(_token: string): Promise<unknown>;
    /**
     * One is in the room: for the first time, again, or still.
     * @param {{ recovered: boolean }} how
     * @protected
     */
    protected arrived({ recovered }: {
        recovered: boolean;
    }): void;
    /**
     * The connection is gone.
     * @param {string} reason
     * @param {string} code
     * @protected
     */
    protected dropped(reason: string, code: string): void;
    /**
     * An attempt to come back came to nothing: there is another one if it may, and an end if it will not.
     * @param {SignalingError} error
     * @protected
     */
    protected refused(error: SignalingError): void;
    /** @param {number} [atLeast] in milliseconds @protected */
    protected retryLater(atLeast?: number): void;
    /**
     * The server told an error that answers no request.
     * @param {SignalingError} error
     * @returns {boolean} whether that was the end
     * @protected
     */
    protected endIfFinal(error: SignalingError): boolean;
    /** Out of the room, and not coming back. @param {SignalingError} error @protected */
    protected end(error: SignalingError): void;
    #private;
}
/**
 * A member of the room as the server describes it. Of what peers say about themselves, only `name` and `media` are here: other fields of
 * their metadata are ignored, since these names are the module's own.
 */
export type User = {
    /**
     * the same as `userId`
     */
    id: string;
    userId: string;
    roomId?: string | undefined;
    socketId?: string | undefined;
    /**
     * ISO 8601
     */
    joinedAt?: string | undefined;
    name?: string | undefined;
    /**
     * the wire tells nothing of them
     */
    anonymous?: boolean | undefined;
    /**
     * they may not be here yet: call them, and show them once they answer
     */
    expected?: boolean | undefined;
    /**
     * their offer is the next event
     */
    calling?: boolean | undefined;
    /**
     * theirs goes through the media server: they are in no mesh
     */
    media?: "sfu" | undefined;
};
/**
 * Names the two ends of a connection: `mesh.js` sends it along.
 */
export type Link = {
    from: string;
    to: string | null;
};
/**
 * `user`: the sender, where no list has named them
 */
export type Relayed = {
    from: string;
    user?: User;
    link?: Link;
};
/**
 * `userId`: one's own
 */
export type Joined = {
    roomId: string;
    userId?: string;
    users: User[];
    iceServers?: RTCIceServer[];
};
/**
 * The events of a {@link Signaling}, by name. `room-users` comes at every join and re-join; after `ended` one is out of the room, and does
 * not come back by oneself; `message` is what a wire tells besides.
 */
export type SignalingEvents = {
    "room-users": Omit<Joined, "roomId">;
    "user-joined": User;
    "user-away": User;
    "user-back": User;
    "user-left": User & {
        reason?: string;
    };
    "offer": Relayed & {
        offer: RTCSessionDescriptionInit;
    };
    "answer": Relayed & {
        answer: RTCSessionDescriptionInit;
    };
    "ice-candidate": Relayed & {
        candidate: RTCIceCandidateInit | null;
    };
    "offline": {
        reason: string;
        code: string;
    };
    "online": {
        recovered: boolean;
    };
    "ended": SignalingError;
    "message": {
        type: string;
        payload: any;
    };
};
export type SignalingOptions = {
    /**
     * where Parlor is; by default, where the page came from
     */
    url?: string | undefined;
    /**
     * where the server asks for one
     */
    token?: string | undefined;
};
export type SignalKind = "offer" | "answer" | "candidate";
export type SignalBody = RTCSessionDescriptionInit | RTCIceCandidateInit | null;
import { Emitter } from "./emitter.js";
import { SignalingError } from "./signaling-error.js";
