"""The Python clients in the documentation, unchanged."""

import re
import subprocess
import sys
import threading

import pytest

from documents import DOCS
from support import TIMEOUT, EnvelopePeer, SessionPeer, TopicPeer


def session(server, add_peer):
    peer = add_peer(SessionPeer(server, "blue-otter"))
    peer.send_message("join")
    peer.next_signal("offer")
    peer.send_message("answer", sdp="v=0")
    return "'type': 'answer'"


def envelope(server, add_peer):
    peer = add_peer(EnvelopePeer(server))
    peer.join("standup", user={"id": "ann"})
    return "'userId': 'ann'"


def topic(server, add_peer):
    peer = add_peer(TopicPeer(server, "standup"))
    peer.next("offer")
    return peer.id


@pytest.mark.parametrize("page, meet, first", [("session", session, None), ("envelope", envelope, "room:state"), ("topic", topic, "peer-list")])
def test_python_client_of_each_page(server, add_peer, page, meet, first):
    [source] = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.M | re.S)
    source = source.replace("ws://localhost:4000", "ws" + server.url.removeprefix("http"))
    client = subprocess.Popen([sys.executable, "-c", source], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(TIMEOUT, client.kill)
    timer.start()
    lines = []

    def read_until(text):
        for line in client.stdout:
            lines.append(line)
            if text in line:
                return
        raise AssertionError(f"the client of {page}.md does not print {text}:\n{''.join(lines)}")

    try:
        if first:
            read_until(first)
        read_until(meet(server, add_peer))
    finally:
        timer.cancel()
        client.kill()
        client.wait()
