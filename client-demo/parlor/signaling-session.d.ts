/** The one other person, as the other wires would describe them. `anonymous`: this wire knows nothing of them. */
export const OTHER: Readonly<{
    id: "other";
    userId: "other";
    anonymous: true;
}>;
/** Every `targetId` means the other. */
export class SessionSignaling extends WebSocketSignaling {
    /** Ends the call for both. Safe while a page is being closed: nothing is awaited. */
    hangUp(): void;
    /** @protected @override */
    protected override place(): URL;
    /**
     * Rejects if the server refused a signal at about that time: its errors do not say which.
     * @param {import("./signaling.js").SignalKind} kind
     * @param {string} _other
     * @param {import("./signaling.js").SignalBody} body
     * @param {object} [extra] travels within this wire alone
     * @protected
     * @override
     */
    protected override transmit(kind: import("./signaling.js").SignalKind, _other: string, body: import("./signaling.js").SignalBody, extra?: object): Promise<void>;
    #private;
}
import { WebSocketSignaling } from "./signaling-websocket.js";
