/** What someone sends. @typedef {{ producerId: string, userId: string, kind: "audio" | "video", paused?: boolean, appData: any }} Source */
/**
 * Someone in the room.
 * @typedef {object} SfuMember
 * @property {string} id the `userId`
 * @property {string} name
 * @property {boolean} elsewhere in the room without the media server: there is no way to them
 * @property {SfuPeer | null} peer null for those
 * @property {boolean} away lost the server, may come back; media may well flow
 * @property {Sends | null} sends
 */
/**
 * The events of an {@link Sfu}. `joined`, `changed`, `stream` and `left` are as with a mesh; `speaker`: whose voice is the loudest now,
 * perhaps one's own; `failed`: something could not be sent or received.
 * @typedef {{
 *   "joined": SfuMember,
 *   "changed": SfuMember,
 *   "stream": SfuMember,
 *   "left": SfuMember & { reason: string },
 *   "speaker": { id: string, level: number },
 *   "failed": SignalingError,
 * }} SfuEvents
 */
/**
 * @typedef {object} SfuOptions
 * @property {import("./signaling-envelope.js").EnvelopeSignaling} signaling with `media: "sfu"` in its `metadata`, for the others
 * @property {new () => import("mediasoup-client").types.Device} Device that of mediasoup-client
 */
/** @extends {Emitter<SfuEvents>} */
export class Sfu extends Emitter<SfuEvents> {
    /** @param {SfuOptions} options made before joining, so that no event of the room is missed */
    constructor({ signaling, Device }: SfuOptions);
    /** Who is in the call. @returns {Map<string, SfuMember>} a copy */
    get members(): Map<string, SfuMember>;
    /**
     * What everybody gets from now on.
     * @param {Partial<import("./mesh.js").Tracks>} tracks a kind that is left out is sent no more
     * @param {Partial<Sends>} [sends] what to say of them: without `audio` the microphone is muted; a `screen` is sent in one layer
     */
    send({ audio, video }: Partial<import("./mesh.js").Tracks>, sends?: Partial<Sends>): void;
    /**
     * Asks for no better layer of someone's picture than this one.
     * @param {string} id whose
     * @param {number} spatialLayer from 0, the lowest
     */
    preferLayer(id: string, spatialLayer: number): Promise<void>;
    /** Ends the media. The signaling is left alone. */
    close(): void;
    #private;
}
export type User = import("./signaling.js").User;
export type Sends = import("./mesh.js").Sends;
/**
 * What someone sends.
 */
export type Source = {
    producerId: string;
    userId: string;
    kind: "audio" | "video";
    paused?: boolean;
    appData: any;
};
/**
 * Someone in the room.
 */
export type SfuMember = {
    /**
     * the `userId`
     */
    id: string;
    name: string;
    /**
     * in the room without the media server: there is no way to them
     */
    elsewhere: boolean;
    /**
     * null for those
     */
    peer: SfuPeer | null;
    /**
     * lost the server, may come back; media may well flow
     */
    away: boolean;
    sends: Sends | null;
};
/**
 * The events of an {@link Sfu}. `joined`, `changed`, `stream` and `left` are as with a mesh; `speaker`: whose voice is the loudest now,
 * perhaps one's own; `failed`: something could not be sent or received.
 */
export type SfuEvents = {
    "joined": SfuMember;
    "changed": SfuMember;
    "stream": SfuMember;
    "left": SfuMember & {
        reason: string;
    };
    "speaker": {
        id: string;
        level: number;
    };
    "failed": SignalingError;
};
export type SfuOptions = {
    /**
     * with `media: "sfu"` in its `metadata`, for the others
     */
    signaling: import("./signaling-envelope.js").EnvelopeSignaling;
    /**
     * that of mediasoup-client
     */
    Device: new () => import("mediasoup-client").types.Device;
};
import { Emitter } from "./emitter.js";
import { SfuPeer } from "./sfu-peer.js";
import { SignalingError } from "./signaling-error.js";
