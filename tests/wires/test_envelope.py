"""`/ws`, spoken with Python's websockets package."""

import json

import pytest

from support import ANSWER, OFFER, EnvelopePeer, candidate


def pair(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.join(room, user={"id": "ann", "displayName": "Ann", "role": "host"}, metadata={"seat": 1})
    bob = party(EnvelopePeer(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room:participant-joined")
    return ann, bob


def test_a_call(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    state = ann.join(room, user={"id": "ann", "displayName": "Ann", "role": "host"}, metadata={"seat": 1})
    assert state["roomId"] == room and [peer["userId"] for peer in state["participants"]] == ["ann"]
    assert state["roomConfig"]["capacity"] == 50
    me = state["participants"][0]
    assert (me["displayName"], me["role"], me["metadata"]["seat"]) == ("Ann", "host", 1)

    bob = party(EnvelopePeer(server, "bob"))
    state = bob.join(room, displayName="Bob", user={"id": "bob"})
    assert [peer["userId"] for peer in state["participants"]] == ["ann", "bob"]
    joined = ann.next("room:participant-joined")["payload"]
    assert joined["roomId"] == room
    assert joined["participant"] == state["participants"][1]
    assert joined["participant"]["displayName"] == "Bob"
    assert [peer["userId"] for peer in ann.ask("room:state", {"roomId": room}, "room:state")["participants"]] == ["ann", "bob"]

    assert isinstance(bob.ask("sdp:offer", {**OFFER, "targetUserId": "ann", "app": [1]}, "ok"), dict)
    offer = ann.next("sdp:offer")["payload"]
    sent_at = offer.pop("sentAt")
    assert offer == {**OFFER, "targetUserId": "ann", "app": [1], "fromUserId": "bob", "roomId": room}
    assert sent_at == bob.clock
    ann.tell("sdp:answer", {**ANSWER, "targetUserId": "bob", "roomId": room})
    answer = bob.next("sdp:answer")["payload"]
    assert (answer["sdp"], answer["fromUserId"]) == (ANSWER["sdp"], "ann")
    for number in range(10):
        bob.tell("ice:candidate", {**candidate(number), "targetUserId": "ann"})
    for number in range(10):
        heard = ann.next("ice:candidate")["payload"]
        assert {key: heard[key] for key in candidate(number)} == candidate(number)
    bob.tell("ice:candidate", {"candidate": None, "sdpMid": None, "sdpMLineIndex": None})
    assert ann.next("ice:candidate")["payload"]["candidate"] is None

    bob.refused("TARGET_NOT_FOUND", "sdp:offer", {**OFFER, "targetUserId": "nobody"})
    ann.quiet()
    assert bob.ask("room:leave", {"roomId": room}, "room:state")["participants"] == []
    left = ann.next("room:participant-left")["payload"]
    assert left == {"roomId": room, "userId": "bob", "reason": "left"}
    bob.refused("NOT_IN_ROOM", "sdp:offer", {**OFFER, "targetUserId": "ann", "roomId": room})
    ann.quiet()
    bob.quiet()


def test_a_drop_is_told_with_its_reason(server, room, party):
    ann, bob = pair(server, room, party)
    bob.close()
    assert ann.next("room:participant-left")["payload"] == {"roomId": room, "userId": "bob", "reason": "disconnected"}


def test_who_drops_comes_back_and_misses_nothing(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.join(room, user={"id": "ann"})
    bob = party(EnvelopePeer(server, "bob"))
    token = bob.join(room, user={"id": "bob"})["resumeToken"]
    ann.next("room:participant-joined")
    ann.tell("sdp:offer", {**OFFER, "targetUserId": "bob"})
    seen = bob.next("sdp:offer")["sequence"]
    bob.drop()
    assert ann.next("room:participant-away")["payload"] == {"roomId": room, "userId": "bob"}
    for number in range(10):
        ann.tell("ice:candidate", {**candidate(number), "targetUserId": "bob"})
    back = party(EnvelopePeer(server, "bob again"))
    back.tell("auth:request", {"resumeToken": token, "lastSequence": seen})
    answer = back.next("auth:response")["payload"]
    assert answer["recovered"] and answer["resumeToken"] != token
    for number in range(10):
        heard = back.next("ice:candidate")
        assert (heard["sequence"], heard["payload"]["candidate"]) == (seen + 1 + number, candidate(number)["candidate"])
    assert ann.next("room:participant-back")["payload"] == {"roomId": room, "userId": "bob"}
    ann.quiet()
    # It works once.
    late = party(EnvelopePeer(server, "too late"))
    late.tell("auth:request", {"resumeToken": token, "lastSequence": seen})
    assert late.next("auth:response")["payload"]["recovered"] is False


def test_the_same_user_id_takes_the_place(server, room, party):
    ann, bob = pair(server, room, party)
    newer = party(EnvelopePeer(server, "bob again"))
    newer.join(room, user={"id": "bob"})
    assert bob.next("error")["payload"]["code"] == "REPLACED"
    assert ann.next("room:participant-left")["payload"]["reason"] == "replaced"
    ann.next("room:participant-joined")
    ann.quiet()


def test_a_request_without_a_correlation_id_is_answered_too(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.tell("room:join", {"roomId": room})
    state = ann.next("room:state")
    assert "correlationId" not in state
    assert [peer["userId"] for peer in state["payload"]["participants"]] == [ann.connection]
    ann.quiet()


def test_a_user_without_an_id_of_its_own(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    answer = ann.ask("auth:request", {"token": "anything"}, "auth:response")
    assert (answer["success"], answer["userId"]) == (True, ann.connection)


def test_dots_are_answered_with_dots(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.ask("room.join", {"roomId": room, "user": {"id": "ann"}}, "room.state")
    bob = party(EnvelopePeer(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room.participant-joined")
    bob.tell("sdp:offer", {**OFFER, "targetUserId": "ann"})
    ann.next("sdp.offer")
    ann.tell("ice.candidate", {**candidate(0), "targetUserId": "bob"})
    bob.next("ice:candidate")


def test_media_outside_of_a_room(server, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.tell("auth:request", {"token": ""})
    ann.next("auth:response")
    for kind in ("router:capabilities", "producers:list"):
        ann.refused("NOT_IN_ROOM", kind, {})
    for kind in ("transport:create", "produce"):
        ann.raw(json.dumps({"type": kind, "payload": {}}))
        assert ann.next("error")["payload"]["code"] == "INVALID_MESSAGE"


WRONG = [
    ("payload.roomId", {"type": "room:join", "payload": {}}),
    ("payload.roomId", {"type": "room:join", "payload": {"roomId": ""}}),
    ("payload.roomId", {"type": "room:join", "payload": {"roomId": {}}}),
    ("payload.displayName", {"type": "room:join", "payload": {"roomId": "r", "displayName": 7}}),
    ("payload.user", {"type": "room:join", "payload": {"roomId": "r", "user": "ann"}}),
    ("payload.user.id", {"type": "room:join", "payload": {"roomId": "r", "user": {"id": []}}}),
    ("payload.metadata", {"type": "room:join", "payload": {"roomId": "r", "metadata": []}}),
    ("payload.roomId", {"type": "room:join"}),
    ("payload", {"type": "room:join", "payload": []}),
    ("payload.sdp", {"type": "sdp:offer", "payload": {}}),
    ("payload.sdp", {"type": "sdp:offer", "payload": {"sdp": 7}}),
    ("payload.candidate", {"type": "ice:candidate", "payload": {}}),
    ("type", {"type": "room:dance", "payload": {}}),
    ("type", {"payload": {}}),
    ("timestamp", {"type": "ping", "payload": {}, "timestamp": "now"}),
    ("correlationId", {"type": "ping", "payload": {}, "correlationId": 7}),
]


@pytest.mark.parametrize("path, message", WRONG, ids=[json.dumps(message) for _, message in WRONG])
def test_what_is_wrong_is_named_by_its_path(server, party, path, message):
    ann = party(EnvelopePeer(server, "ann"))
    ann.raw(json.dumps({"timestamp": 1765843200000, **message}))
    error = ann.next("error")["payload"]
    assert error["code"] == "INVALID_MESSAGE"
    assert [detail["path"] for detail in error["details"]] == [path]
    ann.quiet()


def test_all_that_is_wrong_is_told_at_once(server, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.raw('{"type":"room:join","payload":{"displayName":7,"user":{"id":[],"role":1}}}')
    details = ann.next("error")["payload"]["details"]
    assert [detail["path"] for detail in details] == ["payload.roomId", "payload.displayName", "payload.user.id", "payload.user.role"]


@pytest.mark.parametrize("frame", ["no JSON", "[]", '"ping"', "7"])
def test_what_is_no_envelope_is_refused_and_the_connection_stays(server, party, frame):
    ann = party(EnvelopePeer(server, "ann"))
    ann.raw(frame)
    error = ann.next("error")["payload"]
    assert (error["code"], error["details"][0]["path"]) == ("INVALID_MESSAGE", "")
    ann.quiet()


def test_a_binary_frame_closes_with_1003(server, room, party):
    ann, bob = pair(server, room, party)
    bob.raw(b"\x00")
    assert bob.closed() == 1003
    ann.next("room:participant-left")


def test_a_message_too_large_closes_with_1009(server, room, party):
    ann, bob = pair(server, room, party)
    bob.raw(json.dumps({"type": "ping", "payload": "x" * 70_000}))
    assert bob.closed() == 1009
    ann.next("room:participant-left")


def test_a_closed_room_is_told(server, room, party):
    ann, bob = pair(server, room, party)
    status, _, _ = server.rest("DELETE", "/api/rooms/" + room.replace(" ", "%20"))
    assert status == 204
    for peer in (ann, bob):
        assert peer.next("error")["payload"]["code"] == "ROOM_CLOSED"
        peer.quiet()


def test_application_message_reaches_one_peer_or_all_others(server, room, party):
    ann, bob = pair(server, room, party)
    ann.ask("room:message", {"topic": "chat", "data": {"text": "hello"}, "mine": 1}, "ok")
    heard = bob.next("room:message")["payload"]
    assert heard.pop("sentAt") == ann.clock
    assert heard == {"topic": "chat", "data": {"text": "hello"}, "mine": 1, "fromUserId": "ann", "roomId": room}
    bob.tell("room:message", {"topic": "wave", "data": None, "targetUserId": "ann", "roomId": room})
    assert ann.next("room:message")["payload"]["data"] is None
    ann.refused("INVALID_MESSAGE", "room:message", {"topic": "user-joined", "data": {}})
    ann.refused("TARGET_NOT_FOUND", "room:message", {"topic": "chat", "data": 1, "targetUserId": "nobody"})
    bob.quiet()


def test_update_of_metadata_is_a_merge_patch(server, room, party):
    ann, bob = pair(server, room, party)
    state = ann.ask("room:update", {"metadata": {"seat": None, "hand": True}}, "room:state")
    updated = bob.next("room:participant-updated")["payload"]
    assert updated["participant"] == state["participants"][0]
    assert updated["participant"]["metadata"] == {"displayName": "Ann", "name": "Ann", "role": "host", "hand": True}
    late = party(EnvelopePeer(server, "late"))
    assert late.join(room)["participants"][0] == updated["participant"]
    for peer in (ann, bob):
        peer.next("room:participant-joined")
        peer.quiet()
