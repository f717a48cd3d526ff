"""`/signal` with the `websockets` package."""

import json

from support import ANSWER, OFFER, SessionPeer, candidate


def pair(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.join()
    bob = add_peer(SessionPeer(server, room, "bob"))
    bob.join()
    assert ann.next("peer-joined") == {"type": "peer-joined", "sessionId": room}
    return ann, bob


def test_a_call(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.send_message("offer", sdp=OFFER, app={"kept": True})
    assert ann.next("offer") == {"type": "offer", "sessionId": room, "sdp": OFFER, "app": {"kept": True}}
    ann.send_message("answer", sdp=ANSWER["sdp"])
    assert bob.next("answer") == {"type": "answer", "sessionId": room, "sdp": ANSWER["sdp"]}
    for number in range(10):
        bob.send_message("candidate", candidate=candidate(number))
    bob.send_message("candidate", candidate=None)
    for number in range(10):
        assert ann.next("candidate")["candidate"] == candidate(number)
    assert ann.next("candidate")["candidate"] is None
    ann.assert_no_message()
    bob.assert_no_message()
    bob.send_message("leave")
    bob.assert_no_message()
    assert ann.next("peer-left") == {"type": "peer-left", "sessionId": room}
    ann.assert_no_message()


def test_signals_of_a_single_peer_are_queued(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.send_message("offer", sdp=OFFER)  # also joins
    for number in range(10):
        ann.send_message("candidate", candidate=candidate(number))
    ann.assert_no_message()
    bob = add_peer(SessionPeer(server, room, "bob", at_handshake=True))
    assert bob.next("offer")["sdp"] == OFFER
    for number in range(10):
        assert bob.next("candidate")["candidate"] == candidate(number)
    bob.assert_no_message()
    bob.send_message("answer", sdp=ANSWER)
    ann.next("peer-joined")
    assert ann.next("answer")["sdp"] == ANSWER
    ann.assert_no_message()


def test_signals_are_queued_after_the_other_peer_left(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.send_message("leave")
    bob.assert_no_message()
    ann.next("peer-left")
    ann.send_message("offer", sdp=OFFER)
    ann.assert_no_message()
    bob.send_message("join")
    assert bob.next("offer")["sdp"] == OFFER
    ann.next("peer-joined")
    bob.assert_no_message()


def test_third_peer_is_refused_and_closed_with_1008(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    third = add_peer(SessionPeer(server, room, "third"))
    third.send_message("join")
    third.refused("ROOM_FULL")
    assert third.closed() == 1008
    ann.assert_no_message()
    bob.assert_no_message()


def test_hangup_reaches_both_and_ends_the_session(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.send_message("hangup")
    assert ann.next("hangup")["sessionId"] == room
    assert bob.next("hangup")["sessionId"] == room
    ann.send_message("offer", sdp=OFFER)
    assert ann.refused("SESSION_ENDED")["message"] == "session ended"
    ann.join()
    ann.assert_no_message()


def test_unknown_session(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    for kind in ("leave", "hangup"):
        ann.send_message(kind)
        assert ann.refused("SESSION_NOT_FOUND")["message"] == "session not found"


def test_invalid_messages_are_answered_and_the_connection_stays_open(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.join()
    frames = ["no JSON", "[]", "{}", '{"type":7}', '{"type":"join"}', '{"type":"join","sessionId":""}', '{"type":"join","sessionId":[]}']
    frames += [json.dumps({"type": "offer", "sessionId": room, **wrong}) for wrong in ({}, {"sdp": ""}, {"sdp": 7})]
    frames += [json.dumps({"type": "candidate", "sessionId": room, **wrong}) for wrong in ({}, {"candidate": 7})]
    for frame in frames:
        ann.raw(frame)
        ann.refused("INVALID_MESSAGE")
    ann.assert_no_message()


def test_binary_frame_closes_with_1003(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.join()
    ann.raw(b"\x00")
    assert ann.closed() == 1003


def test_oversized_message_closes_with_1009(server, room, add_peer):
    ann = add_peer(SessionPeer(server, room, "ann"))
    ann.join()
    ann.raw(json.dumps({"type": "offer", "sessionId": room, "sdp": "x" * 70_000}))
    assert ann.closed() == 1009
