/** The other peer, described as in the other protocols. `anonymous`: this protocol reports nothing about it. */
export const OTHER: Readonly<{
    id: "other";
    userId: "other";
    anonymous: true;
}>;
/** Every `targetId` means the other peer. */
export class SessionSignaling extends WebSocketSignaling {
    /** Ends the call for both peers. Safe while a page is being closed: nothing is awaited. */
    hangUp(): void;
    /** @protected @override */
    protected override place(): URL;
    /**
     * Rejects if the server reports an error at about that time: its errors do not name the signal.
     * @param {import("./signaling.js").SignalKind} kind
     * @param {string} _other
     * @param {import("./signaling.js").SignalBody} body
     * @param {object} [extra] carried within this protocol only
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, _other: string, body: import("./signaling.js").SignalBody, extra?: object): Promise<void>;
    #private;
}
import { WebSocketSignaling } from "./signaling-websocket.js";
