/**
 * `state`: of the receiving transport; `broken`: new transports are needed; `failed`: a track could not be sent.
 * @typedef {{ "state": ConnectionState, "broken": undefined, "failed": SignalingError }} SfuMediaEvents
 */
/** @extends {Emitter<SfuMediaEvents>} */
export class SfuMedia extends Emitter<SfuMediaEvents> {
    /** @param {{ ask: Ask, device: Device | Promise<Device> }} options `device`: not used before */
    constructor({ ask, device }: {
        ask: Ask;
        device: Device | Promise<Device>;
    });
    /** The state of the receiving transport. @returns {ConnectionState} */
    get state(): ConnectionState;
    /** Whether tracks can be received. */
    get isOpen(): boolean;
    /** Creates the two transports. Rejects with a {@link SignalingError}, or as `device` does. */
    open(): Promise<void>;
    /**
     * Sets the tracks to send.
     * @param {Outgoing} outgoing
     */
    send(outgoing: Outgoing): void;
    /**
     * Creates a paused consumer of a producer; `consumer:resume` starts it. Rejects with a {@link SignalingError}.
     * @param {string} producerId
     * @param {string} [streamId] tracks of one stream are synchronized; by default, all of a peer
     */
    consume(producerId: string, streamId?: string): Promise<import("mediasoup-client/types").Consumer<import("mediasoup-client/types").AppData>>;
    /**
     * Closes a consumer, at the server as well.
     * @param {import("mediasoup-client").types.Consumer} consumer
     */
    dismiss(consumer: import("mediasoup-client").types.Consumer): void;
    /**
     * Handles a failed transport: renews its ICE credentials or, if that did not help, requests new transports.
     * @param {string} transportId
     */
    restart(transportId: string): Promise<void>;
    /** Closes the transports, at the server as well if they still exist. */
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
 * The tracks to send, and their announcement.
 */
export type Outgoing = import("./mesh.js").Tracks & {
    sends: import("./mesh.js").Sends;
};
/**
 * `state`: of the receiving transport; `broken`: new transports are needed; `failed`: a track could not be sent.
 */
export type SfuMediaEvents = {
    "state": ConnectionState;
    "broken": undefined;
    "failed": SignalingError;
};
import { Emitter } from "./emitter.js";
