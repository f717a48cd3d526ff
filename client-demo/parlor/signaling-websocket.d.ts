/**
 * A description as WebRTC takes it, from a wire where it may be a bare text.
 * @param {RTCSdpType} type
 * @param {string | RTCSessionDescriptionInit} sdp
 * @returns {RTCSessionDescriptionInit}
 */
export function asDescription(type: RTCSdpType, sdp: string | RTCSessionDescriptionInit): RTCSessionDescriptionInit;
/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, timer: number }} Expectation */
/**
 * A wire says where to connect ({@link WebSocketSignaling#place}), how to get in ({@link WebSocketSignaling#open}, which ends in
 * {@link WebSocketSignaling#entered}), and what a message means ({@link WebSocketSignaling#receive}).
 * @abstract
 */
export class WebSocketSignaling extends Signaling {
    /** @protected @override */
    protected override comeBack(): Promise<void>;
    /** What is to be had before connecting. @protected */
    protected prepare(): Promise<void>;
    /**
     * Where to connect.
     * @param {string} _roomId
     * @returns {URL}
     * @abstract
     * @protected
     */
    protected place(_roomId: string): URL;
    /** The connection is up: ask to be let in, where connecting is not enough. @param {string} _roomId @protected */
    protected open(_roomId: string): void;
    /** @param {any} _message any JSON object the server has sent @abstract @protected */
    protected receive(_message: any): void;
    /** Whether the server may keep our place for another connection. @protected */
    protected get canResume(): boolean;
    /**
     * An address at the server, `ws:` or `wss:` as it is `http:` or `https:`.
     * @param {string} path
     * @param {Record<string, string>} [query]
     * @protected
     */
    protected endpoint(path: string, query?: Record<string, string>): URL;
    /** Whether there is a connection, be one in the room or not yet. @protected */
    protected get connected(): boolean;
    /**
     * One is in.
     * @param {import("./signaling.js").User[]} users who else is
     * @param {string} [userId] one's own
     * @param {RTCIceServer[]} [iceServers] those the server names
     * @protected
     */
    protected entered(users: import("./signaling.js").User[], userId?: string, iceServers?: RTCIceServer[]): void;
    /** One is still in. @protected */
    protected resumed(): void;
    /** The connection is of no use any more, whatever the browser thinks of it. @param {string} reason @protected */
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
     * @param {{ within?: number, silenceIsConsent?: boolean }} [options] `within` is in milliseconds; when they are over it fails with
     *   `TIMEOUT`, or succeeds where the wire tells of failures only
     * @returns {Promise<any>}
     * @protected
     */
    protected expect(key: string, { within, silenceIsConsent }?: {
        within?: number;
        silenceIsConsent?: boolean;
    }): Promise<any>;
    /** @param {string | undefined} key @param {unknown} [value] @returns {boolean} whether anybody waited for it @protected */
    protected settle(key: string | undefined, value?: unknown): boolean;
    /** @param {string | undefined} key @param {SignalingError} error @returns {boolean} whether anybody waited for it @protected */
    protected fail(key: string | undefined, error: SignalingError): boolean;
    /** One is not let in. @param {SignalingError} error @protected */
    protected notEntered(error: SignalingError): void;
    /** An error that answers no request: a reason to be refused, or to be out of the room. @param {SignalingError} error @protected */
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
