"""The server under test, and a client on one of its raw wires.

A peer reads in order, and `next(type)` demands that the oldest unread message has that type: a surplus message, a missing
one or a wrong order fails where it happens. That something did not come is proven by `quiet()`: a question whose answer
the server sends after everything that it sent before.
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
PATIENCE = 10

SDP = "v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
OFFER = {"type": "offer", "sdp": SDP}
ANSWER = {"type": "answer", "sdp": SDP.replace("46117317", "71731164")}


def candidate(number):
    return {"candidate": f"candidate:{number} 1 udp 2122260223 192.0.2.1 {50000 + number} typ host", "sdpMid": "0", "sdpMLineIndex": 0}


class Server:
    def __init__(self, **settings):
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        # Who is killed is waited for, but not for long.
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
        if not listening.wait(PATIENCE):
            self.process.kill()
            raise AssertionError("no \"listening on\" line in:\n" + self.story())

    def story(self):
        return "".join(self.output[-40:])

    def rest(self, method, path, body=None, headers=None):
        """Status, headers, body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read()

    def idle(self):
        """Waits until /health says that nobody and nothing is left."""
        until = time.monotonic() + PATIENCE
        while True:
            health = json.loads(self.rest("GET", "/health")[2])
            left = {name: health[name] for name in ("rooms", "participants", "connections")}
            if not any(left.values()):
                return
            assert time.monotonic() < until, f"the server keeps something of what has ended: {left}"
            time.sleep(0.005)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the server does not end after SIGTERM:\n" + self.story()) from None
        assert code == 0, f"SIGTERM must end the server with 0 and not {code}:\n{self.story()}"


def open_socket(server, path, headers=None):
    address = "ws" + server.url.removeprefix("http") + path
    return connect(address, open_timeout=PATIENCE, close_timeout=PATIENCE, proxy=None, max_size=None, additional_headers=headers)


class Peer:
    """What the three wires have in common. `wire` is the name of its channel in asyncapi.json."""

    wire = None

    def __init__(self, server, path, name):
        self.name = name
        self.heard = []
        # A `with` that ends with `close`.
        self.context = contextlib.ExitStack()
        self.socket = self.context.enter_context(open_socket(server, path))
        try:
            self.greet()
        except BaseException:
            self.close()
            raise

    def greet(self):
        """Reads what the server says first."""

    def raw(self, frame):
        """Text or bytes as they are."""
        self.socket.send(frame)

    def say(self, message):
        """A message that the document knows."""
        check(self.wire, CLIENT, message)
        self.socket.send(json.dumps(message))

    def next(self, kind):
        """The oldest unread message, which must be of this type."""
        message = self.read(kind)
        self.is_of(message, kind)
        return message

    def is_of(self, message, kind):
        assert message["type"] == kind, f"{self.name} waits for {kind!r} and got {message}\n{self.story()}"

    def read(self, kind):
        """The oldest unread message; one of this type is waited for."""
        try:
            frame = self.socket.recv(timeout=PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.name} waits for {kind!r}\n{self.story()}") from None
        except ConnectionClosed as closed:
            raise AssertionError(f"{self.name} waits for {kind!r} and is closed: {closed}\n{self.story()}") from None
        assert isinstance(frame, str), f"{self.name} got a binary frame"
        self.heard.append(frame)
        message = json.loads(frame)
        check(self.wire, SERVER, message)
        return message

    def closed(self):
        """The code with which the server closes the connection; nothing else may come before."""
        try:
            frame = self.socket.recv(timeout=PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not closed\n{self.story()}") from None
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        raise AssertionError(f"{self.name} should be closed and got {frame!r}")

    def close(self):
        self.context.close()

    def drop(self):
        """Loses the connection, as a client does whose network is gone: a reset, and no goodbye."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.socket.close()

    def story(self):
        return f"last heard by {self.name}:\n  " + "\n  ".join(self.heard[-20:])


class SessionPeer(Peer):
    wire = "session"

    def next_signal(self, kind):
        """The oldest unread message that is not about the presence of the other peer; it must be of this type."""
        while (message := self.read(kind))["type"] in ("peer-joined", "peer-left"):
            pass
        self.is_of(message, kind)
        return message

    def __init__(self, server, session, name="session peer", at_handshake=False):
        super().__init__(server, f"/signal?sessionId={quote(session, safe='')}" if at_handshake else "/signal", name)
        self.session = session

    def tell(self, kind, **fields):
        self.say({"type": kind, "sessionId": self.session, **fields})

    def join(self):
        self.tell("join")
        self.quiet()

    def refused(self, code):
        error = self.next("error")
        assert error["code"] == code, error
        return error

    def quiet(self):
        self.raw('{"type":"no such type","sessionId":"any"}')
        self.refused("INVALID_MESSAGE")


class EnvelopePeer(Peer):
    wire = "envelope"

    def __init__(self, server, name="envelope peer"):
        self.clock = 1765843200000
        super().__init__(server, "/ws", name)

    def greet(self):
        self.connection = self.next("connection:ack")["payload"]["connectionId"]

    def tell(self, kind, payload, **envelope):
        self.clock += 1
        self.say({"type": kind, "payload": payload, "timestamp": self.clock, **envelope})

    def ask(self, kind, payload, answer):
        """Sends with a correlation id, and returns the payload of the answer, which must carry it back."""
        correlation = str(uuid.uuid4())
        self.tell(kind, payload, correlationId=correlation)
        message = self.next(answer)
        assert message.get("correlationId") == correlation, message
        return message["payload"]

    def join(self, room, **fields):
        return self.ask("room:join", {"roomId": room, **fields}, "room:state")

    def refused(self, code, kind, payload):
        error = self.ask(kind, payload, "error")
        assert error["code"] == code, error
        return error

    def quiet(self):
        assert self.ask("ping", {"quiet": self.name}, "pong") == {"quiet": self.name}


class TopicPeer(Peer):
    wire = "topic"

    def __init__(self, server, topic, name="topic peer", metadata=None):
        query = "" if metadata is None else "?metadata=" + quote(json.dumps(metadata))
        super().__init__(server, f"/ws/{quote(topic, safe='')}{query}", name)

    def greet(self):
        self.id = self.next("welcome")["selfId"]
        self.peers = self.next("peer-list")["peers"]

    def tell(self, kind, to, payload, **fields):
        self.say({"type": kind, "to": to, "payload": payload, **fields})

    def refused(self, code, **echo):
        error = self.next("error")
        assert error["code"] == code, error
        assert {key: error[key] for key in error if key not in ("type", "code", "message")} == echo
        return error

    def quiet(self):
        self.raw(json.dumps({"type": "no such type", "msgId": "quiet"}))
        self.refused("invalid_type", msgId="quiet")


def refusal(server, path, headers=None):
    """The answer with which a handshake is refused."""
    try:
        with open_socket(server, path, headers):
            pass
    except InvalidStatus as refused:
        return refused.response
    raise AssertionError(f"the handshake to {path} should be refused")


def handshake(server, path, headers=None):
    """The status and the body with which a handshake is refused."""
    answer = refusal(server, path, headers)
    return answer.status_code, answer.body
