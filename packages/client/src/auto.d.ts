/** @typedef {"mesh" | "sfu"} RoomMode */
/** @typedef {import("./signaling.js").User} User */
/** @typedef {import("./mesh.js").Member} MeshMember */
/** @typedef {import("./sfu.js").SfuMember} SfuMember */
/** @typedef {MeshMember | SfuMember} AutoMember */
/** @typedef {import("./signaling-error.js").SignalingError} SignalingError */
/** Number of people from which a call uses the media server: in a mesh each member sends a copy to each other member. */
export const SFU_FROM: 5;
/** Name of the application message by which a member asks for a mode: `{ mode }`. */
export const MODE_TOPIC: "media-mode";
/**
 * The events of an {@link AutoCall}: those of {@link Mesh} and {@link Sfu}, and `mode`, the new mode of the room.
 * @typedef {{
 *   "joined": AutoMember, "changed": AutoMember, "stream": AutoMember, "left": AutoMember & { reason: string },
 *   "chat": { member: MeshMember, text: string }, "speaker": { id: string, level: number }, "failed": SignalingError, "mode": RoomMode,
 * }} AutoEvents
 */
/**
 * @typedef {object} AutoOptions
 * @property {import("./signaling.js").Signaling} signaling for the media server an `EnvelopeSignaling` with `media: "auto"` in its metadata
 * @property {string} [name] sent to peers whose protocol carries no names
 * @property {RTCIceServer[]} [iceServers] of a mesh, used instead of the server's
 * @property {() => import("./sfu.js").DeviceClass | Promise<import("./sfu.js").DeviceClass>} [loadDevice] returns `Device` of
 *   mediasoup-client; without it, this client cannot use the media server
 * @property {RoomMode} [wanted] the mode of a room that this client is the first to enter; by default, as the number of people requires
 */
/** @extends {Emitter<AutoEvents>} */
export class AutoCall extends Emitter<AutoEvents> {
    /** @param {AutoOptions} options create it before joining, so that no event of the room is missed */
    constructor(options: AutoOptions);
    /** The mode of the room; null before the join. */
    get mode(): RoomMode | null;
    /** Whether this client can use the media server. */
    get canUseSfu(): boolean;
    /** The other people that can use a mesh only. @returns {User[]} */
    get meshOnly(): User[];
    /** The members of the call. @returns {Map<string, AutoMember>} a copy */
    get members(): Map<string, AutoMember>;
    /**
     * Sets the tracks that all members receive.
     * @param {Partial<import("./mesh.js").Tracks>} tracks a kind that is missing is no longer sent
     * @param {Partial<import("./mesh.js").Sends>} [sends] what to announce; by default, the given tracks
     */
    send(tracks: Partial<import("./mesh.js").Tracks>, sends?: Partial<import("./mesh.js").Sends>): void;
    /** Asks all members to change to a mode. @param {RoomMode} mode */
    ask(mode: RoomMode): Promise<void>;
    /** Sends a message over the data channels of a mesh. See {@link Mesh#chat}. @param {string} text @returns {number} number of recipients */
    chat(text: string): number;
    /** See {@link Sfu#preferLayer}. @param {string} id @param {number} spatialLayer */
    preferLayer(id: string, spatialLayer: number): Promise<void>;
    /** Closes all connections. The signaling is unaffected. */
    close(): void;
    #private;
}
export type RoomMode = "mesh" | "sfu";
export type User = import("./signaling.js").User;
export type MeshMember = import("./mesh.js").Member;
export type SfuMember = import("./sfu.js").SfuMember;
export type AutoMember = MeshMember | SfuMember;
export type SignalingError = import("./signaling-error.js").SignalingError;
/**
 * The events of an {@link AutoCall}: those of {@link Mesh} and {@link Sfu}, and `mode`, the new mode of the room.
 */
export type AutoEvents = {
    "joined": AutoMember;
    "changed": AutoMember;
    "stream": AutoMember;
    "left": AutoMember & {
        reason: string;
    };
    "chat": {
        member: MeshMember;
        text: string;
    };
    "speaker": {
        id: string;
        level: number;
    };
    "failed": SignalingError;
    "mode": RoomMode;
};
export type AutoOptions = {
    /**
     * for the media server an `EnvelopeSignaling` with `media: "auto"` in its metadata
     */
    signaling: import("./signaling.js").Signaling;
    /**
     * sent to peers whose protocol carries no names
     */
    name?: string | undefined;
    /**
     * of a mesh, used instead of the server's
     */
    iceServers?: RTCIceServer[] | undefined;
    /**
     * returns `Device` of
     * mediasoup-client; without it, this client cannot use the media server
     */
    loadDevice?: (() => import("./sfu.js").DeviceClass | Promise<import("./sfu.js").DeviceClass>) | undefined;
    /**
     * the mode of a room that this client is the first to enter; by default, as the number of people requires
     */
    wanted?: RoomMode | undefined;
};
import { Emitter } from "./emitter.js";
