"""Ends that the server makes, with their close codes: told the same on all three wires."""

import contextlib
import json
import socket as sockets
import time

import pytest
from websockets.exceptions import ConnectionClosed

from support import OFFER, PATIENCE, EnvelopePeer, Server, SessionPeer, TopicPeer, handshake, open_socket, refusal


def on_session(server, room, party):
    peer = party(SessionPeer(server, room))
    peer.join()
    return peer


def on_envelope(server, room, party):
    peer = party(EnvelopePeer(server))
    peer.join(room)
    return peer


def on_topic(server, room, party):
    return party(TopicPeer(server, room))


EACH = pytest.mark.parametrize("join", [on_session, on_envelope, on_topic])


@pytest.fixture
def hasty():
    """A server with short times, and small rooms."""
    server = Server(HANDSHAKE_TIMEOUT_SECONDS="1", WS_PING_SECONDS="1", MAX_ROOM_SIZE="2", SESSION_QUEUE_MESSAGES="2")
    yield server
    server.idle()
    server.stop()


@EACH
def test_a_server_that_goes_closes_with_1012(room, party, join):
    server = Server()
    peer = join(server, room, party)
    server.process.terminate()
    assert peer.closed() == 1012
    server.stop()


@EACH
def test_a_close_by_the_server_is_over_at_once(server, room, party, join):
    # It is the server that ends the TCP connection, as soon as its close is answered (RFC 6455, section 7.1.1).
    peer = join(server, room, party)
    peer.raw(b"\x00")
    start = time.monotonic()
    assert peer.closed() == 1003
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("join", [on_session, on_topic])
def test_a_room_closed_by_an_operator_closes_with_1008(server, room, party, join):
    peer = join(server, room, party)
    status, _, _ = server.rest("DELETE", "/api/rooms/" + room.replace(" ", "%20"))
    assert (status, peer.closed()) == (204, 1008)


def test_a_first_message_too_late_closes_with_1008(hasty, room, party):
    peers = [party(SessionPeer(hasty, room)), party(EnvelopePeer(hasty))]
    peers[1].quiet()  # a ping is not what is waited for
    assert [peer.closed() for peer in peers] == [1008, 1008]


def test_a_topic_that_is_full_closes_with_1008(hasty, room, party):
    for _ in range(2):
        party(TopicPeer(hasty, room))
    with pytest.raises(AssertionError, match="waits for 'peer-list' and is closed: .*1008.*ROOM_FULL"):
        TopicPeer(hasty, room)


def test_what_does_not_fit_the_queue_of_a_session_is_refused(hasty, room, party):
    ann = on_session(hasty, room, party)
    for _ in range(2):
        ann.tell("offer", sdp=OFFER)
    ann.tell("candidate", candidate=None)
    ann.refused("DELIVERY_FAILED")
    bob = party(SessionPeer(hasty, room, "bob"))
    bob.tell("join")
    for _ in range(2):
        bob.next("offer")
    bob.quiet()


def deaf(server, path):
    """A connection on which nobody reads: not even pings are answered."""
    connection = sockets.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=PATIENCE)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    connection.sendall((head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
    return connection


def all_that_came(connection):
    came = b""
    while part := connection.recv(4096):
        came += part
    return came


def test_who_answers_no_ping_is_closed(hasty, room, party):
    joined = [join(hasty, f"{room} {join.__name__}", party) for join in (on_session, on_envelope, on_topic)]
    with deaf(hasty, "/signal?sessionId=deaf") as session, deaf(hasty, "/ws/deaf") as topic:
        for connection in (session, topic):
            all_that_came(connection)
    for peer in joined:
        peer.quiet()  # they answered their pings meanwhile


def test_who_comes_back_to_a_session_takes_the_place_of_the_one_that_is_overdue(hasty, room, party):
    ann = on_session(hasty, room, party)
    with deaf(hasty, f"/signal?sessionId={room.replace(' ', '%20')}") as bob:
        # Refused as a third, until Bob's ping is overdue.
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            again = party(SessionPeer(hasty, room, "bob again"))
            again.tell("join")
            with contextlib.suppress(ConnectionClosed):
                again.raw("{}")
            if again.next("error")["code"] == "INVALID_MESSAGE":
                break
        came = all_that_came(bob)
    assert b"\x03\xf0" in came, came  # 1008, in a close frame
    again.tell("offer", sdp=OFFER)
    assert ann.next_signal("offer")["sdp"] == OFFER


@pytest.mark.parametrize("path", ["/signal?sessionId=", "/signal?sessionId=%00", "/ws/%00", "/ws/%FF", "/ws/x?metadata=%FF", "/ws/" + "x" * 129])
def test_what_cannot_be_read_is_refused_at_the_door(server, path):
    status, body = handshake(server, path)
    assert (status, json.loads(body)["code"]) == (400, "INVALID_MESSAGE")


@pytest.mark.parametrize("path", ["/signal", "/ws", "/ws/topic"])
def test_what_is_no_handshake_is_refused(server, path):
    status, headers, body = server.rest("GET", path)
    assert (status, headers["Content-Type"], json.loads(body)["code"]) == (400, "application/json", "INVALID_MESSAGE")
    status, headers, body = server.rest("POST", path, {})
    assert (status, json.loads(body)["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in headers["Allow"]


@pytest.mark.parametrize("path", ["/signal", "/ws", "/ws/topic"])
def test_a_foreign_origin_is_refused_at_the_door(server, path):
    status, body = handshake(server, path, {"Origin": "https://elsewhere.example"})
    assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN")


def test_tls_may_be_required_of_sessions():
    server = Server(REQUIRE_TLS="true", TRUSTED_PROXIES="127.0.0.0/8")
    try:
        status, body = handshake(server, "/signal")
        assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN")
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------------- too many messages


def ask_session(peer):
    peer.raw(json.dumps({"type": "leave", "sessionId": "elsewhere"}))
    error = peer.next("error")
    assert error["sessionId"] == "elsewhere"
    return error


def ask_envelope(peer):
    return peer.ask("room:leave", {"roomId": "elsewhere"}, "error")


def ask_topic(peer):
    peer.tell("offer", "nobody", OFFER, msgId="7")
    error = peer.next("error")
    assert error["msgId"] == "7"
    return error


#: How to join, what to say that is always answered with an error, and the code of one that comes too soon.
CHATTY = [(on_session, ask_session, "RATE_LIMITED"), (on_envelope, ask_envelope, "RATE_LIMITED"), (on_topic, ask_topic, "dropped")]


@pytest.fixture
def strict():
    """A server that lets four messages pass, and then one a second."""
    server = Server(MESSAGES_PER_SECOND="1", MESSAGE_BURST="4")
    yield server
    server.idle()
    server.stop()


@pytest.mark.parametrize("join, ask, code", CHATTY)
def test_a_message_too_many_is_refused_with_the_time_to_wait(strict, room, party, join, ask, code):
    # Not `join.quiet()`: what it says counts, too.
    peer = join(strict, room, party) if join is not on_session else party(SessionPeer(strict, room, at_handshake=True))
    assert "retryAfterMs" not in ask(peer)
    refused = next(error for error in (ask(peer) for _ in range(50)) if "retryAfterMs" in error)
    assert refused["code"] == code
    wait = refused["retryAfterMs"]
    assert 1 <= wait <= 1000
    time.sleep(wait / 1000)
    assert "retryAfterMs" not in ask(peer)


def test_who_does_not_heed_it_is_closed_with_1008(strict, room, party):
    peers = [join(strict, f"{room} {join.__name__}", party) for join in (on_session, on_envelope, on_topic)]
    start = time.monotonic()
    ends = set()
    while peers:
        assert time.monotonic() - start < 10 + PATIENCE, f"not closed: {peers}"
        for peer in list(peers):
            try:
                peer.socket.send("{}")
                peer.socket.recv(timeout=PATIENCE)
            except ConnectionClosed as closed:
                ends.add((closed.rcvd.code, closed.rcvd.reason))
                peers.remove(peer)
                # A flood is what has gone on for ten seconds.
                assert time.monotonic() - start > 9
        # The pace of the flood.
        time.sleep(0.05)
    assert ends == {(1008, "RATE_LIMITED")}


# ---------------------------------------------------------------------------------------------------- too many connections

DOORS = ["/signal?sessionId=s", "/ws", "/ws/topic", "/socket.io/?EIO=4&transport=websocket"]


def is_refused(answer, status):
    assert (answer.status_code, json.loads(answer.body)["code"]) == (status, "LIMIT_REACHED")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_server_refuses_at_the_door():
    server = Server(MAX_CONNECTIONS="1")
    try:
        with open_socket(server, "/ws"):
            for path in DOORS:
                is_refused(refusal(server, path), 503)
            # Its health and its rooms can be asked for all the same.
            assert server.rest("GET", "/healthz")[0] == 200
        server.idle()
        for path in DOORS[:3]:
            with open_socket(server, path):
                pass
            server.idle()
    finally:
        server.stop()


def test_an_address_has_so_many_connections_and_a_proxy_tells_whose_they_are():
    server = Server(MAX_CONNECTIONS_PER_IP="1", TRUSTED_PROXIES="127.0.0.1")
    try:
        with open_socket(server, "/ws", {"X-Forwarded-For": "198.51.100.1"}):
            for path in DOORS:
                is_refused(refusal(server, path, {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}), 429)
            with open_socket(server, "/ws", {"X-Forwarded-For": "198.51.100.1, 198.51.100.2"}):
                pass
    finally:
        server.stop()
