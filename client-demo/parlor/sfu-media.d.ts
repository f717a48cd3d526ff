/**
 * `state`: of the receiving transport; `broken`: there has to be another one; `failed`: something could not be sent.
 * @typedef {{ "state": ConnectionState, "broken": undefined, "failed": SignalingError }} SfuMediaEvents
 */
/** @extends {Emitter<SfuMediaEvents>} */
export class SfuMedia extends Emitter<SfuMediaEvents> {
    /** @param {{ ask: Ask, device: Device }} options `device`: a new one */
    constructor({ ask, device }: {
        ask: Ask;
        device: Device;
    });
    /** Of what is received. @returns {ConnectionState} */
    get state(): ConnectionState;
    /** Whether something can be received. */
    get isOpen(): boolean;
    /** Makes the two transports. Rejects with a {@link SignalingError}. */
    open(): Promise<void>;
    /**
     * What is sent from now on.
     * @param {Outgoing} outgoing
     */
    send(outgoing: Outgoing): void;
    /**
     * A consumer of what a producer sends; nothing comes before `consumer:resume`. Rejects with a {@link SignalingError}.
     * @param {string} producerId
     */
    consume(producerId: string): Promise<import("mediasoup-client/types").Consumer<import("mediasoup-client/types").AppData>>;
    /**
     * Ends a consumer that is not wanted: closed here alone, it would stay at the server.
     * @param {import("mediasoup-client").types.Consumer} consumer
     */
    dismiss(consumer: import("mediasoup-client").types.Consumer): void;
    /**
     * A transport through which nothing comes any more: new credentials for it, or, if that does not help, all anew.
     * @param {string} transportId
     */
    restart(transportId: string): Promise<void>;
    /** Ends it here, and at the server if it is still there. */
    close(): void;
    #private;
}
export type Device = import("mediasoup-client").types.Device;
export type Transport = import("mediasoup-client").types.Transport;
export type Producer = import("mediasoup-client").types.Producer;
export type ConnectionState = import("mediasoup-client").types.ConnectionState;
export type SignalingError = import("./signaling-error.js").SignalingError;
export type Ask = (type: string, payload?: object) => Promise<any>;
/**
 * What is sent, and what to say of it.
 */
export type Outgoing = import("./mesh.js").Tracks & {
    sends: import("./mesh.js").Sends;
};
/**
 * `state`: of the receiving transport; `broken`: there has to be another one; `failed`: something could not be sent.
 */
export type SfuMediaEvents = {
    "state": ConnectionState;
    "broken": undefined;
    "failed": SignalingError;
};
import { Emitter } from "./emitter.js";
