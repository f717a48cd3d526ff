import type { Mesh, Signaling, SignalingError } from "@parlor/client";

/** `failed`: the room could not be joined; `ended`: the server or another peer ended the membership, see `error`. */
export type RoomStatus = "idle" | "joining" | "joined" | "offline" | "left" | "failed" | "ended";

export interface RoomOptions {
  /** The server; by default, the server of the page. */
  url?: string;
  /** The id by which others know this client; by default, a new one for each mounted component. */
  userId?: string;
  /** The name that others see. */
  name?: string;
  /** The access token, if the server requires one. A newer one extends the session. */
  token?: string;
  /** More about this client for the others, if the protocol carries it. */
  metadata?: object;
  /** The tracks to send. May change at any time; a kind that is missing is no longer sent. */
  tracks?: { audio?: MediaStreamTrack | null; video?: MediaStreamTrack | null } | null;
  /** The protocol; by default `SocketIoSignaling`. */
  Signaling?: new (options: any) => Signaling;
  /** `Mesh`, the default, or `Sfu` of `@parlor/client/sfu`. */
  Call?: new (options: any) => any;
  /** For `Sfu`: the `Device` of mediasoup-client. */
  Device?: new () => unknown;
  /** For `Mesh`: used instead of the server's. */
  iceServers?: RTCIceServer[];
}

export interface Room {
  roomId: string | null | undefined;
  userId: string;
  status: RoomStatus;
  error: SignalingError | null;
  /** The id of the active speaker, with `Sfu`. */
  speaker: string | null;
  /** Leaves the room. */
  leave(): void;
  /** For messages of your own, and everything that the hooks do not cover. */
  signaling: Signaling | null;
  call: Mesh | any | null;
}

export interface RoomPeer {
  id: string;
  name: string;
  /** Lost its connection to the server and may resume. */
  away: boolean;
  /** In the room, but with the other kind of call: no media. */
  elsewhere: boolean;
  sends: { audio: boolean; video: boolean; screen: boolean } | null;
  state: RTCPeerConnectionState;
  stream: MediaStream | null;
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
}

/** Joins a room while the component is mounted, and leaves it afterwards. Joins nothing without a `roomId`. */
export function useRoom(roomId: string | null | undefined, options?: RoomOptions): Room;

/** Returns the other members of a room. The array and its entries are replaced when they change. */
export function usePeers(room: Room): readonly RoomPeer[];

/** Returns a track of a peer, or null while there is none, or while it is muted by its sender or the network. */
export function useTrack(peer: RoomPeer | null | undefined, kind: "audio" | "video"): MediaStreamTrack | null;
