// How the module is used, in TypeScript: this must compile.
import { Mesh, Peer, SignalingError, SocketIoSignaling, type Member, type Signaling, type User } from "../../../packages/client/src/parlor.js";
import { Device } from "mediasoup-client";
import { Sfu, type SfuMember } from "../../../packages/client/src/sfu.js";
import { EnvelopeSignaling } from "../../../packages/client/src/signaling-envelope.js";
import { SessionSignaling } from "../../../packages/client/src/signaling-session.js";
import { TopicSignaling } from "../../../packages/client/src/signaling-topic.js";

const name = "Ann";
const userId: string = crypto.randomUUID();
const url = "https://signal.example.com";

/** Any of the protocols is accepted. */
export const protocols: Signaling[] = [
  new SocketIoSignaling({ userId, name }),
  new EnvelopeSignaling({ url, userId, name, token: "a token of the application" }),
  new TopicSignaling({ url, name }),
  new SessionSignaling({ url }),
];

export async function call(signaling: Signaling, media: MediaStream, show: (id: string, stream: MediaStream | null, grey: boolean) => void) {
  const mesh = new Mesh({ signaling, name, iceServers: [{ urls: "stun:stun.example.com" }] });
  const [audio, video] = [media.getAudioTracks()[0], media.getVideoTracks()[0]];
  mesh.send({ audio, video });
  mesh.send({ video: null }, { screen: false });

  const draw = ({ id, peer, away }: Member) => show(id, peer?.stream ?? null, away);
  mesh.addEventListener("stream", ({ detail }) => draw(detail));
  mesh.addEventListener("changed", { handleEvent: ({ detail }) => draw(detail) });
  mesh.addEventListener("left", ({ detail: { id, reason } }) => console.log(id, reason.length));
  mesh.addEventListener("chat", ({ detail: { member, text } }) => console.log(member.name, text.trim()));

  const away: string[] = [];
  signaling.addEventListener("user-away", ({ detail }: CustomEvent<User>) => away.push(detail.userId), { once: true });
  signaling.addEventListener("online", ({ detail: { recovered } }) => console.log(recovered ? "resumed" : "joined again"));
  signaling.addEventListener("ended", ({ detail }) => console.log(detail.code, detail.retryAfterMs ?? 0));
  try {
    const { users } = await signaling.join("lobby");
    return users.map((user) => user.name ?? user.id);
  } catch (error) {
    if (error instanceof SignalingError && error.code === "ROOM_FULL") return [];
    throw error;
  }
}

export function callThroughSfu(media: MediaStream, show: (id: string, stream: MediaStream | null, layer: number | null) => void) {
  const signaling = new EnvelopeSignaling({ userId, name, metadata: { media: "sfu" } });
  const sfu = new Sfu({ signaling, Device });
  sfu.send({ audio: media.getAudioTracks()[0] ?? null }, { audio: false });
  const draw = ({ id, peer, elsewhere }: SfuMember) => !elsewhere && show(id, peer?.stream ?? null, peer?.layers?.current ?? null);
  sfu.addEventListener("stream", ({ detail }) => draw(detail));
  sfu.addEventListener("speaker", ({ detail: { id, level } }) => level > -40 && void sfu.preferLayer(id, 2));
  return signaling.join("lobby");
}

export async function connectPeer(signaling: Signaling, targetId: string) {
  const peer = new Peer({ outgoing: new MediaStream(), renewIceServers: () => signaling.iceServers() });
  peer.addEventListener("description", ({ detail }) => signaling.offer(targetId, detail, { note: "mine" }));
  peer.addEventListener("candidate", ({ detail }) => signaling.candidate(targetId, detail));
  signaling.addEventListener("answer", ({ detail: { answer, from } }) => from === targetId && peer.receiveDescription(answer));
  peer.call();
  const { roundTripTime, path } = await peer.stats();
  return path === "relayed" ? (roundTripTime ?? 0) * 1000 : 0;
}
