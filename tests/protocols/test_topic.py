"""`/ws/{topic}` with the `websockets` package."""

import json
import re

from documents import ASYNCAPI
from support import ANSWER, OFFER, TopicPeer, candidate, handshake

ULID = re.compile(ASYNCAPI["components"]["schemas"]["Ulid"]["pattern"])


def pair(server, room, add_peer, **first):
    ann = add_peer(TopicPeer(server, room, "ann", **first))
    bob = add_peer(TopicPeer(server, room, "bob"))
    ann.next("peer-joined")
    return ann, bob


def test_a_call(server, room, add_peer):
    ann = add_peer(TopicPeer(server, room, "ann", metadata={"name": "Ann", "tags": ["é", 1.50]}))
    assert ann.peers == []
    bob = add_peer(TopicPeer(server, room, "bob"))
    assert bob.peers == [{"id": ann.id, "metadata": {"name": "Ann", "tags": ["é", 1.5]}}]
    joined = ann.next("peer-joined")
    assert (joined["peerId"], joined["metadata"]) == (bob.id, {})
    assert ULID.match(ann.id) and ULID.match(bob.id) and ann.id != bob.id

    bob.send_message("offer", ann.id, OFFER, msgId="1")
    assert ann.next("offer") == {"type": "offer", "from": bob.id, "payload": OFFER, "msgId": "1"}
    ann.send_message("answer", bob.id, ANSWER)
    assert bob.next("answer") == {"type": "answer", "from": ann.id, "payload": ANSWER}
    for number in range(10):
        bob.send_message("ice-candidate", ann.id, candidate(number), msgId=str(number))
    for number in range(10):
        assert ann.next("ice-candidate") == {"type": "ice-candidate", "from": bob.id, "payload": candidate(number), "msgId": str(number)}
    bob.send_message("ice-candidate", ann.id, None)
    assert ann.next("ice-candidate")["payload"] is None

    bob.send_message("offer", "missing", OFFER, msgId="2")
    bob.refused("target_not_found", msgId="2")
    ann.assert_no_message()
    bob.close()
    assert ann.next("peer-left")["peerId"] == bob.id
    ann.assert_no_message()


def test_payload_is_relayed_unchanged(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    payload = '{"b" : 1.500, "a":[1e3 , "\\u00e9"]}'
    bob.raw(f'{{"payload":{payload},"type":"offer","to":"{ann.id}"}}')
    ann.next("offer")
    assert payload in ann.received[-1]


def test_server_sets_the_sender(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.raw(json.dumps({"type": "offer", "to": ann.id, "from": "another peer", "payload": OFFER}))
    assert ann.next("offer")["from"] == bob.id


def test_peers_of_another_topic_cannot_be_reached(server, room, add_peer):
    ann = add_peer(TopicPeer(server, room, "ann"))
    bob = add_peer(TopicPeer(server, room + " beside", "bob"))
    bob.send_message("offer", ann.id, OFFER, msgId="1")
    bob.refused("target_not_found", msgId="1")
    ann.assert_no_message()


def test_invalid_messages_are_answered_and_the_connection_stays_open(server, room, add_peer):
    ann = add_peer(TopicPeer(server, room, "ann"))
    for frame in ("no JSON", "[]", '"offer"', "{}", '{"type":"join"}', '{"type":7}'):
        ann.raw(frame)
        ann.refused("invalid_type")
    ann.raw('{"type":"offer","payload":{},"msgId":"1"}')
    ann.refused("missing_target", msgId="1")
    ann.assert_no_message()


def test_binary_frame_closes_with_1003(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.raw(b"\x00")
    assert bob.closed() == 1003
    assert ann.next("peer-left")["peerId"] == bob.id


def test_oversized_message_closes_with_1009(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.raw(json.dumps({"type": "offer", "to": ann.id, "payload": "x" * 70_000}))
    assert bob.closed() == 1009
    assert ann.next("peer-left")["peerId"] == bob.id


def test_metadata_that_is_not_an_object_is_refused_at_the_handshake(server, room):
    for metadata in ("[]", "no%20JSON", "7"):
        status, body = handshake(server, f"/ws/{room.replace(' ', '-')}?metadata={metadata}")
        assert (status, json.loads(body)["code"]) == (400, "INVALID_MESSAGE")


def test_message_reaches_one_peer_or_all_others(server, room, add_peer):
    ann, bob = pair(server, room, add_peer)
    bob.send({"type": "message", "payload": {"text": "hello"}})
    assert ann.next("message") == {"type": "message", "from": bob.id, "payload": {"text": "hello"}}
    ann.send_message("message", bob.id, [1, None], msgId="1")
    assert bob.next("message") == {"type": "message", "from": ann.id, "payload": [1, None], "msgId": "1"}
    ann.send_message("message", "missing", 1, msgId="2")
    ann.refused("target_not_found", msgId="2")
    bob.assert_no_message()
