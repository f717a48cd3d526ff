"""Calls between all pairs of protocols, whose messages must be valid by the documents."""

import itertools

import pytest

from support import ANSWER, OFFER, EnvelopePeer, SessionPeer, TopicPeer, candidate

SIGNALS = [("offer", OFFER), ("answer", ANSWER), *(("candidate", candidate(number)) for number in range(10)), ("candidate", None)]


class Session:
    def __init__(self, server, room, add_peer):
        self.peer = add_peer(SessionPeer(server, room))
        self.peer.join()

    def send(self, to, kind, body):
        self.peer.send_message(kind, **{"candidate" if kind == "candidate" else "sdp": body})

    def receive(self, kind):
        message = self.peer.next(kind)
        return None, message["candidate" if kind == "candidate" else "sdp"]

    def joined(self):
        self.peer.next("peer-joined")

    def left(self):
        self.peer.next("peer-left")


class Envelope:
    KINDS = {"offer": "sdp:offer", "answer": "sdp:answer", "candidate": "ice:candidate"}

    def __init__(self, server, room, add_peer):
        self.peer = add_peer(EnvelopePeer(server))
        others = self.peer.join(room, displayName="Eve", metadata={"seat": 1})["participants"][:-1]
        self.others = [other["userId"] for other in others]

    def send(self, to, kind, body):
        payload = body or {"candidate": None, "sdpMid": None, "sdpMLineIndex": None}
        self.peer.send_message(self.KINDS[kind], {**payload, **({"targetUserId": to} if to else {})})

    def receive(self, kind):
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

    def __init__(self, server, room, add_peer):
        self.peer = add_peer(TopicPeer(server, room, metadata={"name": "Tom", "role": "guest"}))
        self.others = [other["id"] for other in self.peer.peers]

    def send(self, to, kind, body):
        self.peer.send_message(self.KINDS[kind], to, body)

    def receive(self, kind):
        message = self.peer.next(self.KINDS[kind])
        return message["from"], message["payload"]

    def joined(self):
        return self.peer.next("peer-joined")["peerId"]

    def left(self):
        return self.peer.next("peer-left")["peerId"]


@pytest.mark.parametrize("first, second", list(itertools.permutations([Session, Envelope, Topic], 2)), ids=lambda protocol: protocol.__name__.lower())
def test_call_between_protocols(server, room, add_peer, first, second):
    one = first(server, room, add_peer)
    two = second(server, room, add_peer)
    names_of_two = one.joined()
    names_of_one = getattr(two, "others", [None])[0]
    for sender, receiver, name, target in ((one, two, names_of_one, names_of_two), (two, one, names_of_two, names_of_one)):
        for kind, body in SIGNALS:
            sender.send(target, kind, body)
        for kind, body in SIGNALS:
            sender_id, received = receiver.receive(kind)
            assert received == body
            assert sender_id in (None, name)
    for each in (one, two):
        each.peer.assert_no_message()
    two.peer.close()
    assert one.left() == names_of_two
    one.peer.assert_no_message()


def test_metadata_between_protocols(server, room, add_peer):
    tom = Topic(server, room, add_peer)
    eve = add_peer(EnvelopePeer(server))
    state = eve.join(room, user={"id": "eve", "displayName": "Eve", "role": "host"}, metadata={"seat": 1})
    seen = state["participants"][0]
    assert (seen["displayName"], seen["role"], seen["metadata"]) == ("Tom", "guest", {"name": "Tom", "role": "guest"})
    seen = tom.peer.next("peer-joined")
    assert (seen["peerId"], seen["metadata"]) == ("eve", {"seat": 1, "displayName": "Eve", "name": "Eve", "role": "host"})


def test_pair_session_takes_two_peers_of_any_protocol(server, room, add_peer):
    for name in ("ann", "bob"):
        add_peer(SessionPeer(server, room, name)).join()
    eve = add_peer(EnvelopePeer(server))
    eve.refused("ROOM_FULL", "room:join", {"roomId": room})


def test_queued_signals_reach_a_peer_of_another_protocol(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.send_message("offer", sdp=OFFER)
    ann.send_message("candidate", candidate=candidate(0))
    ann.assert_no_message()
    eve = Envelope(server, room, add_peer)
    assert eve.receive("offer")[1] == OFFER
    assert eve.receive("candidate")[1] == candidate(0)
