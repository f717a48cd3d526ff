"""Each wire meets each other one in the same room, and both hear what the document says of their own."""

import itertools

import pytest

from support import ANSWER, OFFER, EnvelopePeer, SessionPeer, TopicPeer, candidate

SIGNALS = [("offer", OFFER), ("answer", ANSWER), *(("candidate", candidate(number)) for number in range(10)), ("candidate", None)]


class Session:
    def __init__(self, server, room, party):
        self.peer = party(SessionPeer(server, room))
        self.peer.join()

    def send(self, to, kind, body):
        self.peer.tell(kind, **{"candidate" if kind == "candidate" else "sdp": body})

    def hear(self, kind):
        message = self.peer.next(kind)
        return None, message["candidate" if kind == "candidate" else "sdp"]

    def joined(self):
        self.peer.next("peer-joined")

    def left(self):
        self.peer.next("peer-left")


class Envelope:
    KINDS = {"offer": "sdp:offer", "answer": "sdp:answer", "candidate": "ice:candidate"}

    def __init__(self, server, room, party):
        self.peer = party(EnvelopePeer(server))
        others = self.peer.join(room, displayName="Eve", metadata={"seat": 1})["participants"][:-1]
        self.others = [other["userId"] for other in others]

    def send(self, to, kind, body):
        payload = body or {"candidate": None, "sdpMid": None, "sdpMLineIndex": None}
        self.peer.tell(self.KINDS[kind], {**payload, **({"targetUserId": to} if to else {})})

    def hear(self, kind):
        payload = self.peer.next(self.KINDS[kind])["payload"]
        if kind != "candidate":
            return payload["fromUserId"], {"type": payload["type"], "sdp": payload["sdp"]}
        if payload["candidate"] is None:
            return payload["fromUserId"], None
        return payload["fromUserId"], {key: payload[key] for key in ("candidate", "sdpMid", "sdpMLineIndex")}

    def joined(self):
        return self.peer.next("room:participant-joined")["payload"]["participant"]["userId"]

    def left(self):
        return self.peer.next("room:participant-left")["payload"]["userId"]


class Topic:
    KINDS = {"offer": "offer", "answer": "answer", "candidate": "ice-candidate"}

    def __init__(self, server, room, party):
        self.peer = party(TopicPeer(server, room, metadata={"name": "Tom", "role": "guest"}))
        self.others = [other["id"] for other in self.peer.peers]

    def send(self, to, kind, body):
        self.peer.tell(self.KINDS[kind], to, body)

    def hear(self, kind):
        message = self.peer.next(self.KINDS[kind])
        return message["from"], message["payload"]

    def joined(self):
        return self.peer.next("peer-joined")["peerId"]

    def left(self):
        return self.peer.next("peer-left")["peerId"]


@pytest.mark.parametrize("first, second", list(itertools.permutations([Session, Envelope, Topic], 2)), ids=lambda wire: wire.__name__.lower())
def test_they_hold_a_call(server, room, party, first, second):
    one = first(server, room, party)
    two = second(server, room, party)
    names_of_two = one.joined()
    names_of_one = getattr(two, "others", [None])[0]
    for sender, receiver, name, target in ((one, two, names_of_one, names_of_two), (two, one, names_of_two, names_of_one)):
        for kind, body in SIGNALS:
            sender.send(target, kind, body)
        for kind, body in SIGNALS:
            heard_of, heard = receiver.hear(kind)
            assert heard == body
            assert heard_of in (None, name)
    for each in (one, two):
        each.peer.quiet()
    two.peer.close()
    assert one.left() == names_of_two
    one.peer.quiet()


def test_what_a_peer_says_of_itself(server, room, party):
    tom = Topic(server, room, party)
    eve = party(EnvelopePeer(server))
    state = eve.join(room, user={"id": "eve", "displayName": "Eve", "role": "host"}, metadata={"seat": 1})
    seen = state["participants"][0]
    assert (seen["displayName"], seen["role"], seen["metadata"]) == ("Tom", "guest", {"name": "Tom", "role": "guest"})
    seen = tom.peer.next("peer-joined")
    assert (seen["peerId"], seen["metadata"]) == ("eve", {"seat": 1, "displayName": "Eve", "name": "Eve", "role": "host"})


def test_a_session_is_full_with_two_whichever_wire_they_came_by(server, room, party):
    for name in ("ann", "bob"):
        party(SessionPeer(server, room, name)).join()
    eve = party(EnvelopePeer(server))
    eve.refused("ROOM_FULL", "room:join", {"roomId": room})


def test_what_waits_in_a_session_reaches_a_joiner_from_another_wire(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.tell("offer", sdp=OFFER)
    ann.tell("candidate", candidate=candidate(0))
    ann.quiet()
    eve = Envelope(server, room, party)
    assert eve.hear("offer")[1] == OFFER
    assert eve.hear("candidate")[1] == candidate(0)
