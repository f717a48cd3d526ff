export class EnvelopeSignaling extends WebSocketSignaling {
    /**
     * @param {EnvelopeOptions} options `userId` makes the place in the room one's own: whoever joins with it again, from another
     *   connection, takes that place back; `metadata` is shown to the others beside the name
     */
    constructor({ url, userId, name, metadata, token }: EnvelopeOptions);
    /** @override */
    override get userId(): string;
    /**
     * Asks the server for something that is no signal: its media server, mostly.
     * @param {string} type
     * @param {object} [payload]
     * @returns {Promise<any>} the answer's payload; rejects with a {@link SignalingError}, `OFFLINE` while one is not in the room
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
     * @param {object} [extra] travels within this wire alone
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, targetUserId: string, body: any, extra?: object): Promise<any>;
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
    metadata?: object;
};
import { WebSocketSignaling } from "./signaling-websocket.js";
