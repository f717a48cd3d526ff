import { Mesh, SignalingError, SocketIoSignaling } from "@parlor/client";
import { EnvelopeSignaling } from "@parlor/client/envelope";
import { usePeers, useRoom, useTrack, type Room } from "@parlor/react";

export function uses(track: MediaStreamTrack): string {
  const room: Room = useRoom("lobby", { name: "Ann", tracks: { audio: track }, Signaling: EnvelopeSignaling });
  const [first] = usePeers(room);
  const video: MediaStreamTrack | null = useTrack(first, "video");
  // @ts-expect-error: there is no such kind
  useTrack(first, "screen");
  return room.error instanceof SignalingError ? room.error.code : `${first?.name} ${video?.label}`;
}

export const mesh = new Mesh({ signaling: new SocketIoSignaling({ userId: "ann", name: "Ann" }) });
