/**
 * Returns a description as WebRTC expects it, from a protocol in which it may be a bare text.
 * @param {RTCSdpType} type
 * @param {string | RTCSessionDescriptionInit} sdp
 * @returns {RTCSessionDescriptionInit}
 */
export function asDescription(type: RTCSdpType, sdp: string | RTCSessionDescriptionInit): RTCSessionDescriptionInit;
/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, timer: number }} Expectation */
/**
 * A protocol implements where to connect ({@link WebSocketSignaling#place}), how to join ({@link WebSocketSignaling#open}, which ends in
 * {@link WebSocketSignaling#entered}), and the meaning of messages ({@link WebSocketSignaling#receive}).
 * @abstract
 */
export class WebSocketSignaling extends Signaling {
    /** @protected @override */
    protected override reconnect(): Promise<void>;
    /** Prepares a connection. @protected */
    protected prepare(): Promise<void>;
    /**
     * Returns the address to connect to.
     * @param {string} _roomId
     * @returns {URL}
     * @abstract
     * @protected
     */
    protected place(_roomId: string): URL;
    /** Called when the connection is open: joins, if connecting does not. @param {string} _roomId @protected */
    protected open(_roomId: string): void;
    /** @param {any} _message any JSON object from the server @abstract @protected */
    protected receive(_message: any): void;
    /** Whether the server may keep the session for another connection. @protected */
    protected get canResume(): boolean;
    /**
     * Returns an address of the server, `ws:` or `wss:` for `http:` or `https:`.
     * @param {string} path
     * @param {Record<string, string>} [query]
     * @protected
     */
    protected endpoint(path: string, query?: Record<string, string>): URL;
    /** Whether there is an open connection, in the room or not. @protected */
    protected get connected(): boolean;
    /**
     * The client is in the room.
     * @param {import("./signaling.js").User[]} users the other members
     * @param {string} [userId] the client's own
     * @param {RTCIceServer[]} [iceServers] those that the server reports
     * @protected
     */
    protected entered(users: import("./signaling.js").User[], userId?: string, iceServers?: RTCIceServer[]): void;
    /** The client is still in the room. @protected */
    protected resumed(): void;
    /** The connection is lost, whatever its state in the browser. @param {string} reason @protected */
    protected lost(reason: string): void;
    /**
     * @param {object} message
     * @throws {SignalingError} `OFFLINE`
     * @protected
     */
    protected send(message: object): void;
    /**
     * Waits for {@link WebSocketSignaling#settle} or {@link WebSocketSignaling#fail} of this key.
     * @param {string} key
     * @param {{ within?: number, succeedsOnTimeout?: boolean }} [options] `within`: timeout in milliseconds, after which the request fails
     *   with `TIMEOUT`, or succeeds if the protocol reports failures only
     * @returns {Promise<any>}
     * @protected
     */
    protected expect(key: string, { within, succeedsOnTimeout }?: {
        within?: number;
        succeedsOnTimeout?: boolean;
    }): Promise<any>;
    /** @param {string | undefined} key @param {unknown} [value] @returns {boolean} whether the key was pending @protected */
    protected settle(key: string | undefined, value?: unknown): boolean;
    /** @param {string | undefined} key @param {SignalingError} error @returns {boolean} whether the key was pending @protected */
    protected fail(key: string | undefined, error: SignalingError): boolean;
    /** The join was refused. @param {SignalingError} error @protected */
    protected notEntered(error: SignalingError): void;
    /**
     * Handles an error that answers no request: the join was refused, or the client was removed from the room.
     * @param {SignalingError} error
     * @protected
     */
    protected trouble(error: SignalingError): void;
    #private;
}
export type Expectation = {
    resolve: (value: any) => void;
    reject: (error: Error) => void;
    timer: number;
};
import { Signaling } from "./signaling.js";
import { SignalingError } from "./signaling-error.js";
