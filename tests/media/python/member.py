"""A member of a room with pymediasoup and aiortc: `member.py URL ROOM ID COLOUR HERTZ`.

Sends a picture of one colour (`blue,red` components) and a tone, and receives what others send. Prints a line of JSON for each track it
decodes: the kind, and the colour or frequency that it measures. Ends when its standard input does.
"""

import asyncio
import json
import sys
from fractions import Fraction
from math import pi, sin
from uuid import uuid4

from aiortc import AudioStreamTrack, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler, VideoFrame
from pymediasoup import AiortcHandler, Device
from pymediasoup.models.transport import DtlsParameters
from pymediasoup.rtp_parameters import RtpCapabilities, RtpParameters
from websockets.asyncio.client import connect

WIDTH, HEIGHT = 160, 120
RATE = 48_000
# Ten frames of video, half a second of audio.
FRAMES, SAMPLES = 10, RATE // 2


class Camera(VideoStreamTrack):
    """A picture of one colour."""

    def __init__(self, blue, red):
        super().__init__()
        self.frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, value in zip(self.frame.planes, (120, blue, red)):
            plane.update(bytes([value]) * plane.buffer_size)

    async def recv(self):
        self.frame.pts, self.frame.time_base = await self.next_timestamp()
        return self.frame


class Microphone(AudioStreamTrack):
    """A tone."""

    def __init__(self, hertz):
        super().__init__()
        self.hertz, self.at = hertz, 0

    async def recv(self):
        # Keeps the time.
        silence = await super().recv()
        count = silence.samples * RATE // silence.sample_rate
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        tone = (int(12_000 * sin(2 * pi * self.hertz * (self.at + index) / RATE)) for index in range(count))
        frame.planes[0].update(b"".join(sample.to_bytes(2, "little", signed=True) for sample in tone))
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), self.at
        self.at += count
        return frame


def report(**seen):
    print(json.dumps(seen), flush=True)


async def watch(track):
    """Reports the blue and red components at the middle of the picture."""
    while True:
        for _ in range(FRAMES):
            frame = await track.recv()
        frame = frame.reformat(format="yuv420p")
        middle = [plane.line_size * (plane.height // 2) + plane.width // 2 for plane in frame.planes]
        _, blue, red = (bytes(plane)[at] for plane, at in zip(frame.planes, middle))
        report(kind="video", colour=[blue, red])


async def listen(track):
    """Reports the frequency, by how often the signal crosses zero."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    while True:
        samples = []
        while len(samples) < SAMPLES:
            for frame in resampler.resample(await track.recv()):
                raw = bytes(frame.planes[0])[: 2 * frame.samples]
                samples += memoryview(raw).cast("h").tolist()
        crossings = sum(before < 0 <= after for before, after in zip(samples, samples[1:]))
        report(kind="audio", hertz=crossings * RATE / len(samples), peak=max(samples))


async def until_ended(watching):
    try:
        await watching
    except MediaStreamError:
        pass


class Member:
    """The signaling of a member."""

    def __init__(self, socket):
        self.socket, self.requests, self.tasks = socket, {}, set()
        self.known, self.can_receive = set(), asyncio.Event()

    def spawn(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            raise task.exception()

    async def ask(self, request, **payload):
        number = str(uuid4())
        self.requests[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"type": request, "payload": payload, "timestamp": 0, "correlationId": number}))
        return await self.requests[number]

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            request = self.requests.pop(message.get("correlationId"), None)
            if request and message["type"] == "error":
                request.set_exception(RuntimeError(json.dumps(message["payload"])))
            elif request:
                request.set_result(message.get("payload"))
            elif message["type"] == "new:producer":
                self.spawn(self.receive(message["payload"]["producerId"]))

    async def enter(self, room, name, tracks):
        await self.ask("room:join", roomId=room, user={"id": name})
        self.device = Device(handlerFactory=AiortcHandler.createFactory(tracks=tracks))
        capabilities = (await self.ask("router:capabilities"))["rtpCapabilities"]
        await self.device.load(RtpCapabilities(**capabilities))
        self.sending = await self.transport("send", self.device.createSendTransport)
        self.receiving = await self.transport("recv", self.device.createRecvTransport)
        self.can_receive.set()

        @self.sending.on("produce")
        async def on_produce(kind, rtpParameters, appData):
            created = await self.ask(
                "produce",
                transportId=self.sending.id,
                kind=kind,
                rtpParameters=rtpParameters.model_dump(exclude_none=True),
                appData=appData or {},
            )
            return created["id"]

        for track in tracks:
            await self.sending.produce(track=track, stopTracks=False)
        for producer in (await self.ask("producers:list"))["producers"]:
            if producer["userId"] != name:
                await self.receive(producer["producerId"])

    async def transport(self, direction, create):
        created = await self.ask("transport:create", direction=direction)
        transport = create(
            id=created["id"],
            iceParameters=created["iceParameters"],
            iceCandidates=created["iceCandidates"],
            dtlsParameters=created["dtlsParameters"],
            sctpParameters=None,
        )

        @transport.on("connect")
        async def on_connect(parameters: DtlsParameters):
            # pymediasoup names only the last fingerprint of aiortc, which is that of SHA-512.
            dtls = transport.handler.pc.getTransceivers()[0].sender.transport.getLocalParameters()
            fingerprints = [{"algorithm": each.algorithm, "value": each.value} for each in dtls.fingerprints]
            connecting = {"role": parameters.role, "fingerprints": fingerprints}
            await self.ask("transport:connect", transportId=transport.id, dtlsParameters=connecting)

        return transport

    async def receive(self, producer):
        if producer in self.known:
            return
        self.known.add(producer)
        await self.can_receive.wait()
        capabilities = self.device.rtpCapabilities.model_dump(exclude_none=True)
        created = await self.ask(
            "consume", transportId=self.receiving.id, producerId=producer, rtpCapabilities=capabilities
        )
        consumer = await self.receiving.consume(
            id=created["id"],
            producerId=producer,
            kind=created["kind"],
            rtpParameters=RtpParameters(**created["rtpParameters"]),
        )
        await self.ask("consumer:resume", consumerId=created["id"])
        self.spawn(until_ended(watch(consumer.track) if created["kind"] == "video" else listen(consumer.track)))


async def main(url, room, name, colour, hertz):
    blue, red = (int(component) for component in colour.split(","))
    async with connect(url) as socket:
        member = Member(socket)
        reading = asyncio.create_task(member.read())
        await member.enter(room, name, [Microphone(int(hertz)), Camera(blue, red)])
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await member.sending.close()
        await member.receiving.close()
        reading.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
