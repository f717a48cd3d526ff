"""`/ws` with the `websockets` package."""

import json

import pytest

from support import ANSWER, OFFER, EnvelopePeer, candidate


def pair(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.join(room, user={"id": "ann", "displayName": "Ann", "role": "host"}, metadata={"seat": 1})
    bob = add_peer(EnvelopePeer(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room:participant-joined")
    return ann, bob


def test_a_call(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    state = ann.join(room, user={"id": "ann", "displayName": "Ann", "role": "host"}, metadata={"seat": 1})
    assert state["roomId"] == room and [peer["userId"] for peer in state["participants"]] == ["ann"]
    assert state["roomConfig"]["capacity"] == 50
    me = state["participants"][0]
    assert (me["displayName"], me["role"], me["metadata"]["seat"]) == ("Ann", "host", 1)

    bob = add_peer(EnvelopePeer(server, "bob"))
    state = bob.join(room, displayName="Bob", user={"id": "bob"})
    assert [peer["userId"] for peer in state["participants"]] == ["ann", "bob"]
    joined = ann.next("room:participant-joined")["payload"]
    assert joined["roomId"] == room
    assert joined["participant"] == state["participants"][1]
    assert joined["participant"]["displayName"] == "Bob"
    assert [peer["userId"] for peer in ann.request("room:state", {"roomId": room}, "room:state")["participants"]] == ["ann", "bob"]

    assert isinstance(bob.request("sdp:offer", {**OFFER, "targetUserId": "ann", "app": [1]}, "ok"), dict)
    offer = ann.next("sdp:offer")["payload"]
    sent_at = offer.pop("sentAt")
    assert offer == {**OFFER, "targetUserId": "ann", "app": [1], "fromUserId": "bob", "roomId": room}
    assert sent_at == bob.clock
    ann.send_message("sdp:answer", {**ANSWER, "targetUserId": "bob", "roomId": room})
    answer = bob.next("sdp:answer")["payload"]
    assert (answer["sdp"], answer["fromUserId"]) == (ANSWER["sdp"], "ann")
    for number in range(10):
        bob.send_message("ice:candidate", {**candidate(number), "targetUserId": "ann"})
    for number in range(10):
        received = ann.next("ice:candidate")["payload"]
        assert {key: received[key] for key in candidate(number)} == candidate(number)
    bob.send_message("ice:candidate", {"candidate": None, "sdpMid": None, "sdpMLineIndex": None})
    assert ann.next("ice:candidate")["payload"]["candidate"] is None

    bob.refused("TARGET_NOT_FOUND", "sdp:offer", {**OFFER, "targetUserId": "missing"})
    ann.assert_no_message()
    assert bob.request("room:leave", {"roomId": room}, "room:state")["participants"] == []
    left = ann.next("room:participant-left")["payload"]
    assert left == {"roomId": room, "userId": "bob", "reason": "left"}
    bob.refused("NOT_IN_ROOM", "sdp:offer", {**OFFER, "targetUserId": "ann", "roomId": room})
    ann.assert_no_message()
    bob.assert_no_message()


def test_drop_is_announced_with_its_reason(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.close()
    assert ann.next("room:participant-left")["payload"] == {"roomId": room, "userId": "bob", "reason": "disconnected"}


def test_dropped_client_resumes_and_misses_nothing(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.join(room, user={"id": "ann"})
    bob = add_peer(EnvelopePeer(server, "bob"))
    token = bob.join(room, user={"id": "bob"})["resumeToken"]
    ann.next("room:participant-joined")
    ann.send_message("sdp:offer", {**OFFER, "targetUserId": "bob"})
    seen = bob.next("sdp:offer")["sequence"]
    bob.drop()
    assert ann.next("room:participant-away")["payload"] == {"roomId": room, "userId": "bob"}
    for number in range(10):
        ann.send_message("ice:candidate", {**candidate(number), "targetUserId": "bob"})
    back = add_peer(EnvelopePeer(server, "bob again"))
    back.send_message("auth:request", {"resumeToken": token, "lastSequence": seen})
    answer = back.next("auth:response")["payload"]
    assert answer["recovered"] and answer["resumeToken"] != token
    for number in range(10):
        received = back.next("ice:candidate")
        assert (received["sequence"], received["payload"]["candidate"]) == (seen + 1 + number, candidate(number)["candidate"])
    assert ann.next("room:participant-back")["payload"] == {"roomId": room, "userId": "bob"}
    ann.assert_no_message()
    # Each resume token works once.
    late = add_peer(EnvelopePeer(server, "too late"))
    late.send_message("auth:request", {"resumeToken": token, "lastSequence": seen})
    assert late.next("auth:response")["payload"]["recovered"] is False


def test_same_user_id_replaces_the_older_connection(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    newer = add_peer(EnvelopePeer(server, "bob again"))
    newer.join(room, user={"id": "bob"})
    assert bob.next("error")["payload"]["code"] == "REPLACED"
    assert ann.next("room:participant-left")["payload"]["reason"] == "replaced"
    ann.next("room:participant-joined")
    ann.assert_no_message()


def test_request_without_a_correlation_id_is_answered(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.send_message("room:join", {"roomId": room})
    state = ann.next("room:state")
    assert "correlationId" not in state
    assert [peer["userId"] for peer in state["payload"]["participants"]] == [ann.connection]
    ann.assert_no_message()


def test_default_user_id_is_the_connection_id(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    answer = ann.request("auth:request", {"token": "anything"}, "auth:response")
    assert (answer["success"], answer["userId"]) == (True, ann.connection)


def test_dots_are_answered_with_dots(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.request("room.join", {"roomId": room, "user": {"id": "ann"}}, "room.state")
    bob = add_peer(EnvelopePeer(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room.participant-joined")
    bob.send_message("sdp:offer", {**OFFER, "targetUserId": "ann"})
    ann.next("sdp.offer")
    ann.send_message("ice.candidate", {**candidate(0), "targetUserId": "bob"})
    bob.next("ice:candidate")


def test_media_requests_need_a_room(server, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.send_message("auth:request", {"token": ""})
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
def test_error_names_the_path_of_the_field(server, add_peer, path, message):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.raw(json.dumps({"timestamp": 1765843200000, **message}))
    error = ann.next("error")["payload"]
    assert error["code"] == "INVALID_MESSAGE"
    assert [detail["path"] for detail in error["details"]] == [path]
    ann.assert_no_message()


def test_error_lists_all_invalid_fields(server, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.raw('{"type":"room:join","payload":{"displayName":7,"user":{"id":[],"role":1}}}')
    details = ann.next("error")["payload"]["details"]
    assert [detail["path"] for detail in details] == ["payload.roomId", "payload.displayName", "payload.user.id", "payload.user.role"]


@pytest.mark.parametrize("frame", ["no JSON", "[]", '"ping"', "7"])
def test_invalid_envelopes_are_refused_and_the_connection_stays_open(server, add_peer, frame):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.raw(frame)
    error = ann.next("error")["payload"]
    assert (error["code"], error["details"][0]["path"]) == ("INVALID_MESSAGE", "")
    ann.assert_no_message()


def test_binary_frame_closes_with_1003(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.raw(b"\x00")
    assert bob.closed() == 1003
    ann.next("room:participant-left")


def test_oversized_message_closes_with_1009(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.raw(json.dumps({"type": "ping", "payload": "x" * 70_000}))
    assert bob.closed() == 1009
    ann.next("room:participant-left")


def test_closed_room_is_announced(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    status, _, _ = server.rest("DELETE", "/api/rooms/" + room.replace(" ", "%20"))
    assert status == 204
    for peer in (ann, bob):
        assert peer.next("error")["payload"]["code"] == "ROOM_CLOSED"
        peer.assert_no_message()


def test_application_message_reaches_one_peer_or_all_others(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    ann.request("room:message", {"topic": "chat", "data": {"text": "hello"}, "mine": 1}, "ok")
    received = bob.next("room:message")["payload"]
    assert received.pop("sentAt") == ann.clock
    assert received == {"topic": "chat", "data": {"text": "hello"}, "mine": 1, "fromUserId": "ann", "roomId": room}
    bob.send_message("room:message", {"topic": "wave", "data": None, "targetUserId": "ann", "roomId": room})
    assert ann.next("room:message")["payload"]["data"] is None
    ann.refused("INVALID_MESSAGE", "room:message", {"topic": "user-joined", "data": {}})
    ann.refused("TARGET_NOT_FOUND", "room:message", {"topic": "chat", "data": 1, "targetUserId": "missing"})
    bob.assert_no_message()


def test_update_of_metadata_is_a_merge_patch(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    state = ann.request("room:update", {"metadata": {"seat": None, "hand": True}}, "room:state")
    updated = bob.next("room:participant-updated")["payload"]
    assert updated["participant"] == state["participants"][0]
    assert updated["participant"]["metadata"] == {"displayName": "Ann", "name": "Ann", "role": "host", "hand": True}
    late = add_peer(EnvelopePeer(server, "late"))
    assert late.join(room)["participants"][0] == updated["participant"]
    for peer in (ann, bob):
        peer.next("room:participant-joined")
        peer.assert_no_message()
