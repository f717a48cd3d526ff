import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { usePeers, useRoom, useTrack } from "@parlor/react";

const query = new URLSearchParams(location.search);

function Call({ media }) {
  const [roomId, setRoomId] = useState(query.get("room"));
  const [isMuted, setMuted] = useState(false);
  const [audio, video] = [media.getAudioTracks()[0], media.getVideoTracks()[0]];
  const room = useRoom(roomId, { url: query.get("server"), name: query.get("name"), tracks: { audio: isMuted ? null : audio, video } });
  const peers = usePeers(room);
  return (
    <main>
      <p id="status">{room.status}</p>
      <p id="self">{room.userId}</p>
      <button id="mute" onClick={() => setMuted(!isMuted)}>Mute</button>
      <button id="leave" onClick={() => setRoomId(null)}>Leave</button>
      {peers.map((peer) => <Peer key={peer.id} peer={peer} />)}
    </main>
  );
}

function Peer({ peer }) {
  const video = useTrack(peer, "video");
  const audio = useTrack(peer, "audio");
  const show = (element) => {
    if (element && element.srcObject !== peer.stream) element.srcObject = peer.stream;
  };
  return (
    <figure data-peer={peer.id} data-away={peer.away} data-video={!!video} data-audio={!!audio} data-sends-audio={!!peer.sends?.audio}>
      <video ref={show} autoPlay playsInline muted />
      <figcaption>{peer.name}</figcaption>
    </figure>
  );
}

function App() {
  const [media, setMedia] = useState(null);
  useEffect(() => {
    navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240, frameRate: 10 } }).then(setMedia);
  }, []);
  return media && <Call media={media} />;
}

createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
