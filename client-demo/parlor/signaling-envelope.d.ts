export class EnvelopeSignaling extends WebSocketSignaling {
    /**
     * @param {EnvelopeOptions} options `userId` makes the place in the room one's own: whoever joins with it again, from another
     *   connection, takes that place back
     */
    constructor({ url, userId, name, token }: EnvelopeOptions);
    /** @override */
    override get userId(): string;
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
};
import { WebSocketSignaling } from "./signaling-websocket.js";
