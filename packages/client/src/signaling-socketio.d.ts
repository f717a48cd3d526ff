export class SocketIoSignaling extends Signaling {
    /**
     * @param {SocketIoOptions} options `userId` identifies the member: joining with it from another connection replaces the former one
     */
    constructor({ url, userId, name, token }: SocketIoOptions);
    /** @override */
    override get userId(): string;
    /** @returns {Promise<import("./signaling.js").Joined>} @protected @override */
    protected override enter(): Promise<import("./signaling.js").Joined>;
    /** @param {string} token @protected @override */
    protected override authenticate(token: string): Promise<any>;
    /**
     * @param {import("./signaling.js").SignalKind} kind
     * @param {string} targetId
     * @param {import("./signaling.js").SignalBody} body
     * @param {object} [extra]
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, targetId: string, body: import("./signaling.js").SignalBody, extra?: object): Promise<any>;
    /** @param {string} topic @param {object} data @param {string} [targetId] @protected @override */
    protected override transmitMessage(topic: string, data: object, targetId?: string): Promise<any>;
    /** @protected @override */
    protected override reconnect(): Promise<undefined>;
    #private;
}
export type SocketIoOptions = import("./signaling.js").SignalingOptions & {
    userId: string;
    name: string;
};
import { Signaling } from "./signaling.js";
