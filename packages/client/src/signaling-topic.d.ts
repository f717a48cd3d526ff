export class TopicSignaling extends WebSocketSignaling {
    /** @param {TopicOptions} options */
    constructor({ url, name, token }: TopicOptions);
    /**
     * @param {import("./signaling.js").SignalKind} kind
     * @param {string} to
     * @param {import("./signaling.js").SignalBody} payload
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, to: string, payload: import("./signaling.js").SignalBody): Promise<void>;
    /** @param {string} _topic in the data @param {object} payload @param {string} [to] @protected @override */
    protected override transmitMessage(_topic: string, payload: object, to?: string): Promise<void>;
    #private;
}
export type TopicOptions = import("./signaling.js").SignalingOptions & {
    name: string;
};
import { WebSocketSignaling } from "./signaling-websocket.js";
