"""`/signal`, spoken with Python's websockets package."""

import json

from support import ANSWER, OFFER, SessionPeer, candidate


def pair(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.join()
    bob = party(SessionPeer(server, room, "bob"))
    bob.join()
    assert ann.next("peer-joined") == {"type": "peer-joined", "sessionId": room}
    return ann, bob


def test_a_call(server, room, party):
    ann, bob = pair(server, room, party)
    bob.tell("offer", sdp=OFFER, app={"kept": True})
    assert ann.next("offer") == {"type": "offer", "sessionId": room, "sdp": OFFER, "app": {"kept": True}}
    ann.tell("answer", sdp=ANSWER["sdp"])
    assert bob.next("answer") == {"type": "answer", "sessionId": room, "sdp": ANSWER["sdp"]}
    for number in range(10):
        bob.tell("candidate", candidate=candidate(number))
    bob.tell("candidate", candidate=None)
    for number in range(10):
        assert ann.next("candidate")["candidate"] == candidate(number)
    assert ann.next("candidate")["candidate"] is None
    ann.quiet()
    bob.quiet()
    bob.tell("leave")
    bob.quiet()
    assert ann.next("peer-left") == {"type": "peer-left", "sessionId": room}
    ann.quiet()


def test_what_is_sent_while_alone_waits(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.tell("offer", sdp=OFFER)  # joins, too
    for number in range(10):
        ann.tell("candidate", candidate=candidate(number))
    ann.quiet()
    bob = party(SessionPeer(server, room, "bob", at_handshake=True))
    assert bob.next("offer")["sdp"] == OFFER
    for number in range(10):
        assert bob.next("candidate")["candidate"] == candidate(number)
    bob.quiet()
    bob.tell("answer", sdp=ANSWER)
    ann.next("peer-joined")
    assert ann.next("answer")["sdp"] == ANSWER
    ann.quiet()


def test_it_waits_again_when_the_other_has_left(server, room, party):
    ann, bob = pair(server, room, party)
    bob.tell("leave")
    bob.quiet()
    ann.next("peer-left")
    ann.tell("offer", sdp=OFFER)
    ann.quiet()
    bob.tell("join")
    assert bob.next("offer")["sdp"] == OFFER
    ann.next("peer-joined")
    bob.quiet()


def test_a_third_is_refused_and_closed_with_1008(server, room, party):
    ann, bob = pair(server, room, party)
    third = party(SessionPeer(server, room, "third"))
    third.tell("join")
    third.refused("ROOM_FULL")
    assert third.closed() == 1008
    ann.quiet()
    bob.quiet()


def test_hangup_reaches_both_and_ends_the_session(server, room, party):
    ann, bob = pair(server, room, party)
    bob.tell("hangup")
    assert ann.next("hangup")["sessionId"] == room
    assert bob.next("hangup")["sessionId"] == room
    ann.tell("offer", sdp=OFFER)
    assert ann.refused("SESSION_ENDED")["message"] == "session ended"
    ann.join()
    ann.quiet()


def test_a_session_that_never_was(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    for kind in ("leave", "hangup"):
        ann.tell(kind)
        assert ann.refused("SESSION_NOT_FOUND")["message"] == "session not found"


def test_what_is_wrong_is_answered_and_the_connection_stays(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.join()
    frames = ["no JSON", "[]", "{}", '{"type":7}', '{"type":"join"}', '{"type":"join","sessionId":""}', '{"type":"join","sessionId":[]}']
    frames += [json.dumps({"type": "offer", "sessionId": room, **wrong}) for wrong in ({}, {"sdp": ""}, {"sdp": 7})]
    frames += [json.dumps({"type": "candidate", "sessionId": room, **wrong}) for wrong in ({}, {"candidate": 7})]
    for frame in frames:
        ann.raw(frame)
        ann.refused("INVALID_MESSAGE")
    ann.quiet()


def test_a_binary_frame_closes_with_1003(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.join()
    ann.raw(b"\x00")
    assert ann.closed() == 1003


def test_a_message_too_large_closes_with_1009(server, room, party):
    ann = party(SessionPeer(server, room, "ann"))
    ann.join()
    ann.raw(json.dumps({"type": "offer", "sessionId": room, "sdp": "x" * 70_000}))
    assert ann.closed() == 1009
