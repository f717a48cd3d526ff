"""Connections that the server closes, with their close codes, which are the same for all three protocols."""

import contextlib
import json
import socket as sockets
import time

import pytest
from websockets.exceptions import ConnectionClosed

from support import OFFER, TIMEOUT, EnvelopePeer, Server, SessionPeer, TopicPeer, handshake, open_socket, refusal


def join_session(server, room, add_peer):
    peer = add_peer(SessionPeer(server, room))
    peer.join()
    return peer


def join_envelope(server, room, add_peer):
    peer = add_peer(EnvelopePeer(server))
    peer.join(room)
    return peer


def join_topic(server, room, add_peer):
    return add_peer(TopicPeer(server, room))


EACH = pytest.mark.parametrize("join", [join_session, join_envelope, join_topic])


@pytest.fixture
def short_times():
    """A server with short timeouts, and small rooms."""
    server = Server(HANDSHAKE_TIMEOUT_SECONDS="1", WS_PING_SECONDS="1", MAX_ROOM_SIZE="2", SESSION_QUEUE_MESSAGES="2")
    yield server
    server.idle()
    server.stop()


@EACH
def test_shutdown_closes_with_1012(room, add_peer, join):
    server = Server()
    peer = join(server, room, add_peer)
    server.process.terminate()
    assert peer.closed() == 1012
    server.stop()


@EACH
def test_server_closes_the_tcp_connection_at_once(server, room, add_peer, join):
    # The server closes the TCP connection as soon as its close frame is answered (RFC 6455, section 7.1.1).
    peer = join(server, room, add_peer)
    peer.raw(b"\x00")
    start = time.monotonic()
    assert peer.closed() == 1003
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("join", [join_session, join_topic])
def test_closed_room_closes_with_1008(server, room, add_peer, join):
    peer = join(server, room, add_peer)
    status, _, _ = server.rest("DELETE", "/api/rooms/" + room.replace(" ", "%20"))
    assert (status, peer.closed()) == (204, 1008)


def test_late_first_message_closes_with_1008(short_times, room, add_peer):
    peers = [add_peer(SessionPeer(short_times, room)), add_peer(EnvelopePeer(short_times))]
    peers[1].assert_no_message()  # a ping does not count as the first message
    assert [peer.closed() for peer in peers] == [1008, 1008]


def test_full_topic_closes_with_1008(short_times, room, add_peer):
    for _ in range(2):
        add_peer(TopicPeer(short_times, room))
    with pytest.raises(AssertionError, match="waits for 'peer-list' and is closed: .*1008.*ROOM_FULL"):
        TopicPeer(short_times, room)


def test_full_session_queue_refuses_signals(short_times, room, add_peer):
    ann = join_session(short_times, room, add_peer)
    for _ in range(2):
        ann.send_message("offer", sdp=OFFER)
    ann.send_message("candidate", candidate=None)
    ann.refused("DELIVERY_FAILED")
    bob = add_peer(SessionPeer(short_times, room, "bob"))
    bob.send_message("join")
    for _ in range(2):
        bob.next("offer")
    bob.assert_no_message()


def unresponsive_connection(server, path):
    """A connection that is not read, so that pings are not answered."""
    connection = sockets.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=TIMEOUT)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    connection.sendall((head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
    return connection


def read_to_end(connection):
    came = b""
    while part := connection.recv(4096):
        came += part
    return came


def test_client_that_answers_no_ping_is_closed(short_times, room, add_peer):
    joined = [join(short_times, f"{room} {join.__name__}", add_peer) for join in (join_session, join_envelope, join_topic)]
    with unresponsive_connection(short_times, "/signal?sessionId=unresponsive_connection") as session, unresponsive_connection(short_times, "/ws/unresponsive_connection") as topic:
        for connection in (session, topic):
            read_to_end(connection)
    for peer in joined:
        peer.assert_no_message()  # these answered their pings


def test_returning_session_client_replaces_its_overdue_connection(short_times, room, add_peer):
    ann = join_session(short_times, room, add_peer)
    with unresponsive_connection(short_times, f"/signal?sessionId={room.replace(' ', '%20')}") as bob:
        # Refused as a third peer, until Bob's ping is overdue.
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            again = add_peer(SessionPeer(short_times, room, "bob again"))
            again.send_message("join")
            with contextlib.suppress(ConnectionClosed):
                again.raw("{}")
            if again.next("error")["code"] == "INVALID_MESSAGE":
                break
        came = read_to_end(bob)
    assert b"\x03\xf0" in came, came  # 1008, in a close frame
    again.send_message("offer", sdp=OFFER)
    assert ann.next_signal("offer")["sdp"] == OFFER


@pytest.mark.parametrize("path", ["/signal?sessionId=", "/signal?sessionId=%00", "/ws/%00", "/ws/%FF", "/ws/x?metadata=%FF", "/ws/" + "x" * 129])
def test_invalid_path_or_query_is_refused_at_the_handshake(server, path):
    status, body = handshake(server, path)
    assert (status, json.loads(body)["code"]) == (400, "INVALID_MESSAGE")


@pytest.mark.parametrize("path", ["/signal", "/ws", "/ws/topic"])
def test_request_without_upgrade_is_refused(server, path):
    status, headers, body = server.rest("GET", path)
    assert (status, headers["Content-Type"], json.loads(body)["code"]) == (400, "application/json", "INVALID_MESSAGE")
    status, headers, body = server.rest("POST", path, {})
    assert (status, json.loads(body)["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in headers["Allow"]


@pytest.mark.parametrize("path", ["/signal", "/ws", "/ws/topic"])
def test_foreign_origin_is_refused_at_the_handshake(server, path):
    status, body = handshake(server, path, {"Origin": "https://elsewhere.example"})
    assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN")


def test_tls_may_be_required_of_sessions():
    server = Server(REQUIRE_TLS="true", TRUSTED_PROXIES="127.0.0.0/8")
    try:
        status, body = handshake(server, "/signal")
        assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN")
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------------- rate limit


def request_session(peer):
    peer.raw(json.dumps({"type": "leave", "sessionId": "elsewhere"}))
    error = peer.next("error")
    assert error["sessionId"] == "elsewhere"
    return error


def request_envelope(peer):
    return peer.request("room:leave", {"roomId": "elsewhere"}, "error")


def request_topic(peer):
    peer.send_message("offer", "missing", OFFER, msgId="7")
    error = peer.next("error")
    assert error["msgId"] == "7"
    return error


#: A function to join, a request that always gets an error, and the error code at the rate limit.
REQUESTS_WITH_ERRORS = [(join_session, request_session, "RATE_LIMITED"), (join_envelope, request_envelope, "RATE_LIMITED"), (join_topic, request_topic, "dropped")]


@pytest.fixture
def low_rate():
    """A server that accepts four messages at once, and one per second."""
    server = Server(MESSAGES_PER_SECOND="1", MESSAGE_BURST="4")
    yield server
    server.idle()
    server.stop()


@pytest.mark.parametrize("join, ask, code", REQUESTS_WITH_ERRORS)
def test_excess_message_is_refused_with_retry_after(low_rate, room, add_peer, join, ask, code):
    # Without `quiet()`, whose message would count.
    peer = join(low_rate, room, add_peer) if join is not join_session else add_peer(SessionPeer(low_rate, room, at_handshake=True))
    assert "retryAfterMs" not in ask(peer)
    refused = next(error for error in (ask(peer) for _ in range(50)) if "retryAfterMs" in error)
    assert refused["code"] == code
    wait = refused["retryAfterMs"]
    assert 1 <= wait <= 1000
    time.sleep(wait / 1000)
    assert "retryAfterMs" not in ask(peer)


def test_flooding_client_is_closed_with_1008(low_rate, room, add_peer):
    peers = [join(low_rate, f"{room} {join.__name__}", add_peer) for join in (join_session, join_envelope, join_topic)]
    start = time.monotonic()
    ends = set()
    while peers:
        assert time.monotonic() - start < 10 + TIMEOUT, f"not closed: {peers}"
        for peer in list(peers):
            try:
                peer.socket.send("{}")
                peer.socket.recv(timeout=TIMEOUT)
            except ConnectionClosed as closed:
                ends.add((closed.rcvd.code, closed.rcvd.reason))
                peers.remove(peer)
                # A connection is closed after ten seconds above the limit.
                assert time.monotonic() - start > 9
        # The rate of the flood.
        time.sleep(0.05)
    assert ends == {(1008, "RATE_LIMITED")}


# ---------------------------------------------------------------------------------------------------- connection limits

PATHS = ["/signal?sessionId=s", "/ws", "/ws/topic", "/socket.io/?EIO=4&transport=websocket"]


def is_refused(answer, status):
    assert (answer.status_code, json.loads(answer.body)["code"]) == (status, "LIMIT_REACHED")
    assert int(answer.headers["Retry-After"]) > 0


def test_full_server_refuses_handshakes():
    server = Server(MAX_CONNECTIONS="1")
    try:
        with open_socket(server, "/ws"):
            for path in PATHS:
                is_refused(refusal(server, path), 503)
            # Health and rooms are still served.
            assert server.rest("GET", "/healthz")[0] == 200
        server.idle()
        for path in PATHS[:3]:
            with open_socket(server, path):
                pass
            server.idle()
    finally:
        server.stop()


def test_limit_per_address_counts_forwarded_clients():
    server = Server(MAX_CONNECTIONS_PER_IP="1", TRUSTED_PROXIES="127.0.0.1")
    try:
        with open_socket(server, "/ws", {"X-Forwarded-For": "198.51.100.1"}):
            for path in PATHS:
                is_refused(refusal(server, path, {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}), 429)
            with open_socket(server, "/ws", {"X-Forwarded-For": "198.51.100.1, 198.51.100.2"}):
                pass
    finally:
        server.stop()
