export class EnvelopeSignaling extends WebSocketSignaling {
    /**
     * @param {EnvelopeOptions} options `userId` identifies the member: joining with it from another connection replaces the former one;
     *   `metadata` is shown to the other peers, with the name
     */
    constructor({ url, userId, name, metadata, token }: EnvelopeOptions);
    /** @override */
    override get userId(): string;
    /** The metadata that other peers see, in addition to the name. @returns {Record<string, unknown> | undefined} */
    get metadata(): Record<string, unknown> | undefined;
    /**
     * Sends a request other than a signal, such as to the media server.
     * @param {string} type
     * @param {object} [payload]
     * @returns {Promise<any>} the payload of the response; rejects with a {@link SignalingError}, `OFFLINE` while not in the room
     */
    ask(type: string, payload?: object): Promise<any>;
    /** @protected @override */
    protected override place(): URL;
    /** @param {string} roomId @protected @override */
    protected override open(roomId: string): Promise<void>;
    /** @param {string} token @protected @override */
    protected override authenticate(token: string): Promise<void>;
    /**
     * @param {import("./signaling.js").SignalKind} kind
     * @param {string} targetUserId
     * @param {any} body
     * @param {object} [extra] carried within this protocol only
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, targetUserId: string, body: any, extra?: object): Promise<any>;
    /** @param {string} topic @param {object} data @param {string} [targetUserId] @protected @override */
    protected override transmitMessage(topic: string, data: object, targetUserId?: string): Promise<any>;
    /**
     * Changes the metadata that the other peers see, also those that join later. Not repeated if the connection is lost, but part of a rejoin.
     * @param {object} metadata keys to set; `null` removes a key
     */
    update(metadata: object): Promise<void>;
    /** @param {{ type: string, payload?: any, correlationId?: string, sequence?: number }} message @protected @override */
    protected override receive({ type, payload, correlationId, sequence }: {
        type: string;
        payload?: any;
        correlationId?: string;
        sequence?: number;
    }): void;
    #private;
}
export type EnvelopeOptions = import("./signaling.js").SignalingOptions & {
    userId: string;
    name: string;
    metadata?: Record<string, unknown>;
};
import { WebSocketSignaling } from "./signaling-websocket.js";
