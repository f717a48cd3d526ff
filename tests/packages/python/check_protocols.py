"""Uses the installed package against a server: `check_protocols.py URL PROXY_URL CONTROL`.

Over each protocol two clients find each other and exchange signals and messages; clients of different protocols meet. PROXY_URL leads to the
same server over a line that CONTROL, a URL, cuts: sessions resume, and nothing is lost or doubled.
"""

import asyncio
import sys
import urllib.request

from parlor import (
    OTHER, EnvelopeClient, Ended, Message, Offline, Online, ParlorError, PeerAway, PeerBack, PeerJoined, PeerLeft, SessionClient, Signal,
    SocketIoClient, TopicClient,
)

OFFER = {"type": "offer", "sdp": "v=0\r\n"}
ANSWER = {"type": "answer", "sdp": "v=0\r\na=x\r\n"}
CANDIDATE = {"candidate": "candidate:1 1 udp 1 192.0.2.1 5000 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
PATIENCE = 20


class Inbox:
    """Reads events in order."""

    def __init__(self, client):
        self.events = aiter(client)

    async def next(self, kind, skip=()):
        async with asyncio.timeout(PATIENCE):
            while isinstance(event := await anext(self.events), skip):
                pass
        assert isinstance(event, kind), f"{kind.__name__} expected, got {event}"
        return event


def is_candidate(body):
    return all(body[key] == value for key, value in CANDIDATE.items())


async def named(make, url):
    async with make(url, name="Ann") as ann, make(url, name="Ben") as ben:
        room = make.__name__
        first = await ann.join(room)
        assert first.peers == [], first
        inbox = Inbox(ann)
        second = await ben.join(room)
        assert [(peer.id, peer.name) for peer in second.peers] == [(ann.user_id, "Ann")], second
        joined = await inbox.next(PeerJoined)
        assert (joined.peer.id, joined.peer.name) == (ben.user_id, "Ben"), joined
        other = Inbox(ben)
        await ben.offer(ann.user_id, OFFER)
        await ben.candidate(ann.user_id, CANDIDATE)
        await ben.candidate(ann.user_id, None)
        signals = [await inbox.next(Signal) for _ in range(3)]
        assert [signal.kind for signal in signals] == ["offer", "candidate", "candidate"], signals
        assert signals[0].sender == ben.user_id and signals[0].body["sdp"] == OFFER["sdp"], signals
        assert is_candidate(signals[1].body) and signals[2].body is None, signals
        await ann.answer(ben.user_id, ANSWER)
        answer = await other.next(Signal)
        assert answer.kind == "answer" and answer.body["sdp"] == ANSWER["sdp"], answer
        await ann.message("message", {"text": "hello"})
        message = await other.next(Message)
        assert message.sender == ann.user_id and message.data["text"] == "hello", message
        await ann.leave()
        assert (await other.next(PeerLeft)).peer_id == first.user_id


async def session(url):
    async with SessionClient(url) as ann, SessionClient(url) as ben:
        await ann.join("two")
        # The other is not there yet: the server keeps it.
        await ann.offer(OTHER, OFFER)
        await ben.join("two")
        inbox, other = Inbox(ann), Inbox(ben)
        offer = await other.next(Signal)
        assert offer.kind == "offer" and offer.body == OFFER, offer
        await ben.answer(OTHER, ANSWER)
        assert (await inbox.next(Signal, skip=PeerJoined)).body == ANSWER
        await ben.hang_up()
        ended = await inbox.next(Ended)
        assert ended.error.code == "HUNG_UP", ended


async def mixed(url):
    async with SocketIoClient(url, name="Ann") as ann, EnvelopeClient(url, name="Ben") as ben, TopicClient(url, name="Cleo") as cleo:
        await ann.join("mixed")
        await ben.join("mixed")
        joined = await cleo.join("mixed")
        assert {peer.name for peer in joined.peers} == {"Ann", "Ben"}, joined
        await cleo.offer(ann.user_id, OFFER)
        received = await Inbox(ann).next(Signal, skip=PeerJoined)
        assert received.body["sdp"] == OFFER["sdp"] and received.sender == cleo.user_id, received


async def refused(url):
    client = EnvelopeClient(url)
    try:
        await client.join("x" * 200)
    except ParlorError as error:
        assert error.code == "INVALID_MESSAGE" and error.is_final, error
    else:
        raise AssertionError("a room name of 200 characters was accepted")
    try:
        await EnvelopeClient("http://127.0.0.1:1").join("room")
    except ParlorError as error:
        assert error.code == "UNREACHABLE", error
    else:
        raise AssertionError("there is no server")


async def resumes(make, url, proxy, control):
    room = f"resume-{make.__name__}"
    async with make(url, name="Ann") as ann, make(proxy, name="Ben") as ben:
        await ann.join(room)
        await ben.join(room)
        inbox, other = Inbox(ann), Inbox(ben)
        await inbox.next(PeerJoined)
        numbers = []
        for turn in range(3):
            await ann.message("count", {"n": 2 * turn})
            numbers.append((await other.next(Message)).data["n"])
            await asyncio.to_thread(urllib.request.urlopen, control)
            await other.next(Offline)
            await ann.message("count", {"n": 2 * turn + 1})
            online = await other.next(Online)
            assert online.recovered, online
            numbers.append((await other.next(Message)).data["n"])
        assert numbers == list(range(6)), numbers
        user_id = ben.user_id
        await ben.leave()
        left = await inbox.next(PeerLeft, skip=(PeerAway, PeerBack))
        assert left.peer_id == user_id


async def main(url, proxy, control):
    for make in (EnvelopeClient, SocketIoClient, TopicClient):
        await named(make, url)
        print(make.__name__)
    await session(url)
    print("SessionClient")
    await mixed(url)
    await refused(url)
    for make in (EnvelopeClient, SocketIoClient):
        await resumes(make, url, proxy, control)
        print(make.__name__, "resumes")


asyncio.run(main(*sys.argv[1:]))
