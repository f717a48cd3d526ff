"""The server under test, and clients of its plain WebSocket protocols.

A peer reads in order, and `next(type)` requires that the oldest unread message has that type, so an extra message, a missing
one or a wrong order fails where it happens. `assert_no_message()` proves that nothing was sent: it waits for the reply to a
request, which the server sends after all earlier messages.
"""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from documents import CLIENT, SERVER, check

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BINARY = (HERE / os.environ.get("PARLOR_BIN", "../../target/debug/parlor")).resolve()
TIMEOUT = 10

SDP = "v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
OFFER = {"type": "offer", "sdp": SDP}
ANSWER = {"type": "answer", "sdp": SDP.replace("46117317", "71731164")}


def candidate(number):
    return {"candidate": f"candidate:{number} 1 udp 2122260223 192.0.2.1 {50000 + number} typ host", "sdpMid": "0", "sdpMLineIndex": 0}


class Server:
    def __init__(self, **settings):
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        # A short time, since tests wait until sessions of lost connections expire.
        env = {**keep, "HOST": "127.0.0.1", "PORT": "0", "RESUME_SECONDS": "2", **settings}
        self.output = []
        self.process = subprocess.Popen([str(BINARY)], cwd=REPOSITORY, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        listening = threading.Event()

        def read():
            for line in self.process.stdout:
                self.output.append(line)
                found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
                if found:
                    self.url = found[1]
                    listening.set()

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        if not listening.wait(TIMEOUT):
            self.process.kill()
            raise AssertionError("no \"listening on\" line in:\n" + self.story())

    def story(self):
        return "".join(self.output[-40:])

    def rest(self, method, path, body=None, headers=None):
        """Returns status, headers and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read()

    def idle(self):
        """Waits until /health reports no rooms, peers and connections."""
        until = time.monotonic() + TIMEOUT
        while True:
            health = json.loads(self.rest("GET", "/health")[2])
            left = {name: health[name] for name in ("rooms", "participants", "connections")}
            if not any(left.values()):
                return
            assert time.monotonic() < until, f"the server still holds state: {left}"
            time.sleep(0.005)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the server does not end after SIGTERM:\n" + self.story()) from None
        assert code == 0, f"SIGTERM must end the server with 0 and not {code}:\n{self.story()}"


def open_socket(server, path, headers=None):
    address = "ws" + server.url.removeprefix("http") + path
    return connect(address, open_timeout=TIMEOUT, close_timeout=TIMEOUT, proxy=None, max_size=None, additional_headers=headers)


class Peer:
    """The common part of the three protocols. `protocol` is the name of the channel in asyncapi.json."""

    protocol = None

    def __init__(self, server, path, name):
        self.name = name
        self.received = []
        # Closed by `close`.
        self.context = contextlib.ExitStack()
        self.socket = self.context.enter_context(open_socket(server, path))
        try:
            self.greet()
        except BaseException:
            self.close()
            raise

    def greet(self):
        """Reads the first messages of the server."""

    def raw(self, frame):
        """Sends text or bytes unchanged."""
        self.socket.send(frame)

    def send(self, message):
        """Sends a message that the document describes."""
        check(self.protocol, CLIENT, message)
        self.socket.send(json.dumps(message))

    def next(self, kind):
        """Returns the oldest unread message, which must have this type."""
        message = self.read(kind)
        self.is_of(message, kind)
        return message

    def is_of(self, message, kind):
        assert message["type"] == kind, f"{self.name} waits for {kind!r} and got {message}\n{self.story()}"

    def read(self, kind):
        """Returns the oldest unread message. The type is for the error message."""
        try:
            frame = self.socket.recv(timeout=TIMEOUT)
        except TimeoutError:
            raise AssertionError(f"{self.name} waits for {kind!r}\n{self.story()}") from None
        except ConnectionClosed as closed:
            raise AssertionError(f"{self.name} waits for {kind!r} and is closed: {closed}\n{self.story()}") from None
        assert isinstance(frame, str), f"{self.name} got a binary frame"
        self.received.append(frame)
        message = json.loads(frame)
        check(self.protocol, SERVER, message)
        return message

    def closed(self):
        """Returns the code with which the server closes the connection. No message may precede it."""
        try:
            frame = self.socket.recv(timeout=TIMEOUT)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not closed\n{self.story()}") from None
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        raise AssertionError(f"{self.name} should be closed and got {frame!r}")

    def close(self):
        self.context.close()

    def drop(self):
        """Loses the connection by a reset, without a close frame."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.socket.close()

    def story(self):
        return f"last messages to {self.name}:\n  " + "\n  ".join(self.received[-20:])


class SessionPeer(Peer):
    protocol = "session"

    def next_signal(self, kind):
        """Returns the oldest unread message that is not a presence event. It must have this type."""
        while (message := self.read(kind))["type"] in ("peer-joined", "peer-left"):
            pass
        self.is_of(message, kind)
        return message

    def __init__(self, server, session, name="session peer", at_handshake=False):
        super().__init__(server, f"/signal?sessionId={quote(session, safe='')}" if at_handshake else "/signal", name)
        self.session = session

    def send_message(self, kind, **fields):
        self.send({"type": kind, "sessionId": self.session, **fields})

    def join(self):
        self.send_message("join")
        self.assert_no_message()

    def refused(self, code):
        error = self.next("error")
        assert error["code"] == code, error
        return error

    def assert_no_message(self):
        self.raw('{"type":"no such type","sessionId":"any"}')
        self.refused("INVALID_MESSAGE")


class EnvelopePeer(Peer):
    protocol = "envelope"

    def __init__(self, server, name="envelope peer"):
        self.clock = 1765843200000
        super().__init__(server, "/ws", name)

    def greet(self):
        self.connection = self.next("connection:ack")["payload"]["connectionId"]

    def send_message(self, kind, payload, **envelope):
        self.clock += 1
        self.send({"type": kind, "payload": payload, "timestamp": self.clock, **envelope})

    def request(self, kind, payload, answer):
        """Sends a request with a correlation id, and returns the payload of the reply with the same id."""
        correlation = str(uuid.uuid4())
        self.send_message(kind, payload, correlationId=correlation)
        message = self.next(answer)
        assert message.get("correlationId") == correlation, message
        return message["payload"]

    def join(self, room, **fields):
        return self.request("room:join", {"roomId": room, **fields}, "room:state")

    def refused(self, code, kind, payload):
        error = self.request(kind, payload, "error")
        assert error["code"] == code, error
        return error

    def assert_no_message(self):
        assert self.request("ping", {"quiet": self.name}, "pong") == {"quiet": self.name}


class TopicPeer(Peer):
    protocol = "topic"

    def __init__(self, server, topic, name="topic peer", metadata=None):
        query = "" if metadata is None else "?metadata=" + quote(json.dumps(metadata))
        super().__init__(server, f"/ws/{quote(topic, safe='')}{query}", name)

    def greet(self):
        self.id = self.next("welcome")["selfId"]
        self.peers = self.next("peer-list")["peers"]

    def send_message(self, kind, to, payload, **fields):
        self.send({"type": kind, "to": to, "payload": payload, **fields})

    def refused(self, code, **echo):
        error = self.next("error")
        assert error["code"] == code, error
        assert {key: error[key] for key in error if key not in ("type", "code", "message")} == echo
        return error

    def assert_no_message(self):
        self.raw(json.dumps({"type": "no such type", "msgId": "quiet"}))
        self.refused("invalid_type", msgId="quiet")


def refusal(server, path, headers=None):
    """Returns the response that refuses a handshake."""
    try:
        with open_socket(server, path, headers):
            pass
    except InvalidStatus as refused:
        return refused.response
    raise AssertionError(f"the handshake to {path} should be refused")


def handshake(server, path, headers=None):
    """Returns status and body of the response that refuses a handshake."""
    answer = refusal(server, path, headers)
    return answer.status_code, answer.body
