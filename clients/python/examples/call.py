"""Holds a call with everyone in a room: sends a moving picture and a tone, and prints how much arrives from whom.

    pip install parlor-client[media]
    python call.py http://localhost:4000 try

Then open http://localhost:4000/?room=try in a browser. Every second it prints a line of JSON: the frames of each peer so far.
"""

import argparse
import asyncio
import fractions
import json
import math
import time

from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame

from parlor import (
    EnvelopeClient, Joined, Online, Peer, PeerLeft, SessionClient, Signal, SocketIoClient, TopicClient,
)

CLIENTS = {"envelope": EnvelopeClient, "socketio": SocketIoClient, "topic": TopicClient, "session": SessionClient}
RATE, SAMPLES = 48_000, 960


class Picture(VideoStreamTrack):
    """A bar that moves over a grey ground, 15 frames a second."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        width, height = 320, 240
        frame = VideoFrame(width, height, "yuv420p")
        bar = int(time.monotonic() * 80) % (width - 40)
        luma = frame.planes[0]
        row = bytearray(b"\x60" * luma.line_size)
        row[bar : bar + 40] = b"\xe0" * 40
        luma.update(bytes(row) * height)
        for chroma in frame.planes[1:]:
            chroma.update(b"\x80" * chroma.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(MediaStreamTrack):
    """A tone of 440 Hz."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.started = time.monotonic()
        self.sent = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(max(0.0, self.started + self.sent / RATE - time.monotonic()))
        values = (int(6000 * math.sin(2 * math.pi * 440 * (self.sent + n) / RATE)) for n in range(SAMPLES))
        frame = AudioFrame("s16", "mono", SAMPLES)
        frame.planes[0].update(b"".join(value.to_bytes(2, "little", signed=True) for value in values))
        frame.pts, frame.sample_rate, frame.time_base = self.sent, RATE, fractions.Fraction(1, RATE)
        self.sent += SAMPLES
        return frame


class Call:
    """A connection to each peer of the room."""

    def __init__(self, client, ice_servers) -> None:
        self.client = client
        self.configuration = RTCConfiguration([RTCIceServer(**server) for server in ice_servers])
        self.connections: dict[str, RTCPeerConnection] = {}
        self.frames: dict[str, dict[str, int]] = {}
        self.tasks: set[asyncio.Task] = set()

    def connect(self, peer_id: str) -> RTCPeerConnection:
        connection = RTCPeerConnection(self.configuration)
        self.connections[peer_id] = connection
        self.frames[peer_id] = {"audio": 0, "video": 0}
        for track in (Tone(), Picture()):
            connection.addTrack(track)

        @connection.on("track")
        def receive(track) -> None:
            task = asyncio.ensure_future(self.count(peer_id, track))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        return connection

    async def count(self, peer_id: str, track) -> None:
        try:
            while True:
                await track.recv()
                self.frames[peer_id][track.kind] += 1
        except (MediaStreamError, KeyError):
            return

    async def offer(self, peer_id: str) -> None:
        connection = self.connect(peer_id)
        await connection.setLocalDescription(await connection.createOffer())
        await self.client.offer(peer_id, describe(connection))

    async def receive(self, signal: Signal) -> None:
        connection = self.connections.get(signal.sender)
        if signal.kind == "offer":
            connection = connection or self.connect(signal.sender)
            await connection.setRemoteDescription(RTCSessionDescription(signal.body["sdp"], "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
            await self.client.answer(signal.sender, describe(connection))
        elif signal.kind == "answer" and connection:
            await connection.setRemoteDescription(RTCSessionDescription(signal.body["sdp"], "answer"))
        elif connection and signal.body and signal.body.get("candidate"):
            candidate = candidate_from_sdp(signal.body["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = signal.body.get("sdpMid"), signal.body.get("sdpMLineIndex")
            await connection.addIceCandidate(candidate)

    async def remove(self, peer_id: str) -> None:
        self.frames.pop(peer_id, None)
        connection = self.connections.pop(peer_id, None)
        if connection:
            await connection.close()

    async def close(self) -> None:
        for peer_id in list(self.connections):
            await self.remove(peer_id)


def describe(connection: RTCPeerConnection) -> dict[str, str]:
    return {"type": connection.localDescription.type, "sdp": connection.localDescription.sdp}


async def main(url: str, room: str, protocol: str, calls: bool) -> None:
    async with CLIENTS[protocol](url, name="Python") as client:
        joined: Joined = await client.join(room)
        call = Call(client, joined.ice_servers)
        # The joining peer offers to everyone. In a pair session it is not known who is there: `--call` decides.
        peers = [Peer("other")] if protocol == "session" and calls else joined.peers
        for peer in peers:
            await call.offer(peer.id)

        async def report() -> None:
            while True:
                print(json.dumps(call.frames), flush=True)
                await asyncio.sleep(1)

        reporting = asyncio.ensure_future(report())
        try:
            async for event in client:
                match event:
                    case Signal():
                        await call.receive(event)
                    case PeerLeft(peer_id):
                        await call.remove(peer_id)
                    case Online(recovered=False, peers=list(present)):
                        # Connections of peers that are still there go on without the server.
                        for peer_id in call.connections.keys() - {peer.id for peer in present}:
                            await call.remove(peer_id)
        finally:
            reporting.cancel()
            await call.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("room")
    parser.add_argument("--protocol", choices=CLIENTS, default="envelope")
    parser.add_argument("--call", action="store_true", help="with the protocol session: send the offer")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.url, given.room, given.protocol, given.call))
    except KeyboardInterrupt:
        pass
