export { RETRY } from "./retry.js";
export { asUser } from "./signaling-user.js";
/** Timeout of a request in milliseconds, after which it fails with `TIMEOUT`. */
export const ANSWER_TIMEOUT_MS: 8000;
/**
 * A member of the room as the server describes it. Of its metadata only `name`, `media` and `mode` are included, so that other fields
 * cannot collide with those of this module.
 * @typedef {object} User
 * @property {string} id the same as `userId`
 * @property {string} userId
 * @property {string} [roomId]
 * @property {string} [socketId]
 * @property {string} [joinedAt] ISO 8601
 * @property {string} [name]
 * @property {boolean} [anonymous] the protocol reports nothing about this peer
 * @property {boolean} [expected] may not be present yet: call this peer, and show it once it answers
 * @property {boolean} [calling] its offer is the next event
 * @property {"sfu" | "auto"} [media] the peer uses only the media server, or what the room agrees on; by default, only the mesh
 * @property {import("./auto.js").RoomMode} [mode] the mode that this peer has announced for the room
 * @property {boolean} [asked] whether a member has chosen that mode
 */
/**
 * Identifies the two ends of a peer connection; sent by `mesh.js`.
 * @typedef {{ from: string, to: string | null }} Link
 */
/**
 * The common part of relayed signals; other keys are the sender's.
 * @typedef {{ from: string, user?: User, link?: Link }} Relayed `user`: the sender, if no list has described it
 */
/**
 * The result of a join.
 * @typedef {{ roomId: string, userId?: string, users: User[], iceServers?: RTCIceServer[] }} Joined `userId`: the client's own
 */
/**
 * The events of a {@link Signaling}, by name. `room-users` follows every join and rejoin; after `ended` the client is not in the room and
 * does not reconnect; `application` is a {@link Signaling#message} of another peer; `message` is any other message of the protocol.
 * @typedef {{
 *   "room-users": Omit<Joined, "roomId">,
 *   "user-joined": User, "user-away": User, "user-back": User, "user-updated": User,
 *   "user-left": User & { reason?: string },
 *   "offer": Relayed & { offer: RTCSessionDescriptionInit },
 *   "answer": Relayed & { answer: RTCSessionDescriptionInit },
 *   "ice-candidate": Relayed & { candidate: RTCIceCandidateInit | null },
 *   "offline": { reason: string, code: string },
 *   "online": { recovered: boolean },
 *   "ended": SignalingError,
 *   "application": { from: string, topic: string, data: any },
 *   "message": { type: string, payload: any },
 * }} SignalingEvents
 */
/**
 * @typedef {object} SignalingOptions
 * @property {string} [url] the server; by default, the server of the page
 * @property {string} [token] the access token, if the server requires one
 */
/** @typedef {"offer" | "answer" | "candidate"} SignalKind */
/** @typedef {RTCSessionDescriptionInit | RTCIceCandidateInit | null} SignalBody */
/**
 * The membership in a room, over any protocol.
 *
 * A protocol implements how to join ({@link Signaling#enter}), send ({@link Signaling#transmit}), reconnect ({@link Signaling#reconnect})
 * and disconnect ({@link Signaling#disconnect}), and calls {@link Signaling#arrived} and {@link Signaling#dropped}.
 * @extends {Emitter<SignalingEvents>}
 * @abstract
 */
export class Signaling extends Emitter<SignalingEvents> {
    /** @param {SignalingOptions} [options] */
    constructor({ url, token }?: SignalingOptions);
    /** The id by which other peers know this client; undefined if there is none (yet). @type {string | undefined} */
    get userId(): string | undefined;
    /** Whether the client is in the room, over an open connection. */
    get online(): boolean;
    /** The joined room, or null. Kept while the connection is lost. */
    get roomId(): string | null;
    /**
     * Connects and joins. Rejects with a {@link SignalingError}, after which no connection or timer remains.
     * @param {string} roomId
     * @returns {Promise<Joined>}
     */
    join(roomId: string): Promise<Joined>;
    /** Leaves the room and disconnects. Safe while a page is being closed: nothing is awaited. */
    leave(): void;
    /** Disconnects: a leave for the server. */
    close(): void;
    /**
     * Sends a signal. Resolves once it is in the target's send queue, and rejects with a {@link SignalingError} otherwise. While the
     * connection is lost, signals wait, and fail with `OFFLINE` if the session cannot be resumed. A signal whose response was lost is sent
     * again, so that the target may receive it twice.
     * @param {string} targetId the peer's `userId`
     * @param {RTCSessionDescriptionInit} offer
     * @param {object} [extra] additional keys for the receiver, if the protocol carries them
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
     * Sends an application message, such as a line of chat, to all others in the room or to one of them. Rejects with `UNSUPPORTED` if the
     * protocol carries no such messages.
     * @param {string} topic its name; Socket.IO clients receive an event of that name
     * @param {object} data
     * @param {string} [targetId]
     * @returns {Promise<void>}
     */
    message(topic: string, data: object, targetId?: string): Promise<void>;
    /**
     * Requests the server's STUN and TURN servers, since the credentials of those received at the join expire.
     * @returns {Promise<RTCIceServer[] | undefined>} undefined if the request failed
     */
    iceServers(): Promise<RTCIceServer[] | undefined>;
    /**
     * Replaces the token by a newer one of the same subject, for the current connection, if the protocol supports that, and for all later
     * ones.
     * @param {string} token
     * @returns {Promise<void>} rejects with a {@link SignalingError}; the former token then stays in use
     */
    renew(token: string): Promise<void>;
    /** @protected */
    protected get token(): string | undefined;
    /** Whether the client has joined the room, so that a lost connection is reestablished. @protected */
    protected get joined(): boolean;
    /**
     * Returns an address of the server.
     * @param {string} path
     * @protected
     */
    protected address(path: string): URL;
    /**
     * Connects and joins the room.
     * @param {string} _roomId
     * @returns {Promise<Joined>}
     * @abstract
     * @protected
     */
    protected enter(_roomId: string): Promise<Joined>;
    /**
     * Sends a signal; fails with `OFFLINE` if there is no connection, or if it is lost before the response.
     * @param {SignalKind} _kind
     * @param {string} _targetId
     * @param {any} _body a {@link SignalBody}
     * @param {object} [_extra]
     * @returns {Promise<unknown>}
     * @abstract
     * @protected
     */
    protected transmit(_kind: SignalKind, _targetId: string, _body: any, _extra?: object): Promise<unknown>;
    /** @param {string} _topic @param {object} _data @param {string} [_targetId] @returns {Promise<unknown>} @protected */
    protected transmitMessage(_topic: string, _data: object, _targetId?: string): Promise<unknown>;
    /** Makes one attempt to rejoin; calls {@link Signaling#arrived} or {@link Signaling#refused}. @abstract @protected */
    protected reconnect(): void;
    /** The browser reports that there is no network. @protected */
    protected networkLost(): void;
    /** The browser reports that the network is back: reconnects at once. @protected */
    protected networkBack(): void;
    /** Closes the connection. @abstract @protected */
    protected disconnect(): void;
    /** Sends the last message before closing, if closing alone is not a leave. @param {string} _roomId @protected */
    protected sendLeave(_roomId: string): void;
    /** Sends a newer token, if the protocol supports that. @param {string} _token @returns {Promise<unknown>} @protected */
    protected authenticate(_token: string): Promise<unknown>;
    /**
     * The client is in the room: for the first time, again, or still.
     * @param {{ recovered: boolean }} how
     * @protected
     */
    protected arrived({ recovered }: {
        recovered: boolean;
    }): void;
    /**
     * The connection is lost.
     * @param {string} reason
     * @param {string} code
     * @protected
     */
    protected dropped(reason: string, code: string): void;
    /**
     * An attempt to rejoin has failed: tries again, or ends if that cannot succeed.
     * @param {SignalingError} error
     * @protected
     */
    protected refused(error: SignalingError): void;
    /** Schedules an attempt to rejoin. @param {number} [atLeast] the minimum delay in milliseconds @protected */
    protected retryLater(atLeast?: number): void;
    /**
     * Handles an error that answers no request.
     * @param {SignalingError} error
     * @returns {boolean} whether it ended the membership
     * @protected
     */
    protected endIfFinal(error: SignalingError): boolean;
    /** The client is out of the room, and does not rejoin. @param {SignalingError} error @protected */
    protected end(error: SignalingError): void;
    #private;
}
/**
 * A member of the room as the server describes it. Of its metadata only `name`, `media` and `mode` are included, so that other fields
 * cannot collide with those of this module.
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
     * the protocol reports nothing about this peer
     */
    anonymous?: boolean | undefined;
    /**
     * may not be present yet: call this peer, and show it once it answers
     */
    expected?: boolean | undefined;
    /**
     * its offer is the next event
     */
    calling?: boolean | undefined;
    /**
     * the peer uses only the media server, or what the room agrees on; by default, only the mesh
     */
    media?: "sfu" | "auto" | undefined;
    /**
     * the mode that this peer has announced for the room
     */
    mode?: import("./auto.js").RoomMode | undefined;
    /**
     * whether a member has chosen that mode
     */
    asked?: boolean | undefined;
};
/**
 * Identifies the two ends of a peer connection; sent by `mesh.js`.
 */
export type Link = {
    from: string;
    to: string | null;
};
/**
 * `user`: the sender, if no list has described it
 */
export type Relayed = {
    from: string;
    user?: User;
    link?: Link;
};
/**
 * `userId`: the client's own
 */
export type Joined = {
    roomId: string;
    userId?: string;
    users: User[];
    iceServers?: RTCIceServer[];
};
/**
 * The events of a {@link Signaling}, by name. `room-users` follows every join and rejoin; after `ended` the client is not in the room and
 * does not reconnect; `application` is a {@link Signaling#message} of another peer; `message` is any other message of the protocol.
 */
export type SignalingEvents = {
    "room-users": Omit<Joined, "roomId">;
    "user-joined": User;
    "user-away": User;
    "user-back": User;
    "user-updated": User;
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
    "application": {
        from: string;
        topic: string;
        data: any;
    };
    "message": {
        type: string;
        payload: any;
    };
};
export type SignalingOptions = {
    /**
     * the server; by default, the server of the page
     */
    url?: string | undefined;
    /**
     * the access token, if the server requires one
     */
    token?: string | undefined;
};
export type SignalKind = "offer" | "answer" | "candidate";
export type SignalBody = RTCSessionDescriptionInit | RTCIceCandidateInit | null;
import { Emitter } from "./emitter.js";
import { SignalingError } from "./signaling-error.js";
