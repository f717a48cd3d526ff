/**
 * A track that a member sends.
 * @typedef {{ producerId: string, userId: string, kind: "audio" | "video", paused?: boolean, appData: any }} Source
 */
/**
 * A member of the room.
 * @typedef {object} SfuMember
 * @property {string} id the `userId`
 * @property {string} name
 * @property {boolean} elsewhere in the room without the media server: there is no media
 * @property {SfuPeer | null} peer null for members elsewhere
 * @property {boolean} away lost its connection to the server and may resume; media may still flow
 * @property {Sends | null} sends
 */
/**
 * The events of an {@link Sfu}. `joined`, `changed`, `stream` and `left` are those of a mesh; `speaker`: the active speaker has changed,
 * and may be this client; `failed`: a track could not be sent or received.
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
 * @property {import("./signaling-envelope.js").EnvelopeSignaling} signaling with `media: "sfu"` in its `metadata`, which informs the other
 *   members
 * @property {DeviceClass} [Device] from mediasoup-client
 * @property {() => DeviceClass | Promise<DeviceClass>} [loadDevice] returns it, if it is loaded only when needed
 * @property {import("./signaling.js").SignalingEvents["room-users"]} [present] the room, if it was joined before
 */
/** @typedef {new () => import("mediasoup-client").types.Device} DeviceClass */
/** @extends {Emitter<SfuEvents>} */
export class Sfu extends Emitter<SfuEvents> {
    /** @param {SfuOptions} options create it before joining, so that no event of the room is missed */
    constructor({ signaling, Device, loadDevice, present }: SfuOptions);
    /** The members of the call. @returns {Map<string, SfuMember>} a copy */
    get members(): Map<string, SfuMember>;
    /**
     * Sets the tracks that all members receive.
     * @param {Partial<import("./mesh.js").Tracks>} tracks a kind that is missing is no longer sent
     * @param {Partial<Sends>} [sends] what to announce: without `audio` the microphone is muted
     */
    send(tracks: Partial<import("./mesh.js").Tracks>, sends?: Partial<Sends>): void;
    /**
     * Limits the video of a member to this layer.
     * @param {string} id the member
     * @param {number} spatialLayer from 0, the lowest
     */
    preferLayer(id: string, spatialLayer: number): Promise<void>;
    /** Ends the media. The signaling is unaffected. */
    close(): void;
    #private;
}
export type User = import("./signaling.js").User;
export type Sends = import("./mesh.js").Sends;
/**
 * A track that a member sends.
 */
export type Source = {
    producerId: string;
    userId: string;
    kind: "audio" | "video";
    paused?: boolean;
    appData: any;
};
/**
 * A member of the room.
 */
export type SfuMember = {
    /**
     * the `userId`
     */
    id: string;
    name: string;
    /**
     * in the room without the media server: there is no media
     */
    elsewhere: boolean;
    /**
     * null for members elsewhere
     */
    peer: SfuPeer | null;
    /**
     * lost its connection to the server and may resume; media may still flow
     */
    away: boolean;
    sends: Sends | null;
};
/**
 * The events of an {@link Sfu}. `joined`, `changed`, `stream` and `left` are those of a mesh; `speaker`: the active speaker has changed,
 * and may be this client; `failed`: a track could not be sent or received.
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
     * with `media: "sfu"` in its `metadata`, which informs the other
     * members
     */
    signaling: import("./signaling-envelope.js").EnvelopeSignaling;
    /**
     * from mediasoup-client
     */
    Device?: DeviceClass | undefined;
    /**
     * returns it, if it is loaded only when needed
     */
    loadDevice?: (() => DeviceClass | Promise<DeviceClass>) | undefined;
    /**
     * the room, if it was joined before
     */
    present?: Omit<import("./signaling.js").Joined, "roomId"> | undefined;
};
export type DeviceClass = new () => import("mediasoup-client").types.Device;
import { Emitter } from "./emitter.js";
import { SfuPeer } from "./sfu-peer.js";
import { SignalingError } from "./signaling-error.js";
