"""The media server, as far as it is spoken with over `/ws`: what is sent and received there is for browsers."""

import pytest

from support import EnvelopePeer

FINGERPRINT = ":".join(["0A"] * 32)
OPUS = {"mimeType": "audio/opus", "clockRate": 48000, "channels": 2}


def sound(capabilities, mid="0"):
    """How a track of sound is sent, with the numbers of the router."""
    [opus] = [codec for codec in capabilities["codecs"] if codec["mimeType"] == "audio/opus"]
    extensions = [
        {"uri": extension["uri"], "id": extension["preferredId"], "encrypt": False, "parameters": {}}
        for extension in capabilities["headerExtensions"]
        if extension["kind"] == "audio"
    ]
    codec = {**OPUS, "payloadType": opus["preferredPayloadType"], "parameters": {}, "rtcpFeedback": []}
    return {
        "mid": mid,
        "codecs": [codec],
        "headerExtensions": extensions,
        "encodings": [{"ssrc": 1000 + int(mid)}],
        "rtcp": {"cname": "ann", "reducedSize": True},
    }


class Sender(EnvelopePeer):
    """Somebody with a transport."""

    def create(self, direction, **more):
        created = self.ask("transport:create", {"direction": direction, **more}, "transport:created")
        dtls = {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": FINGERPRINT}]}
        named = {"transportId": created["id"]}
        assert self.ask("transport:connect", {**named, "dtlsParameters": dtls}, "transport:connected") == named
        return created


@pytest.fixture
def ann(server, room, party):
    ann = party(Sender(server, "ann"))
    ann.join(room, user={"id": "ann"})
    return ann


@pytest.fixture
def bob(server, room, party, ann):
    bob = party(Sender(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room:participant-joined")
    return bob


def test_a_track_from_beginning_to_end(ann, bob):
    capabilities = ann.ask("router:capabilities", {}, "router:capabilities")["rtpCapabilities"]
    sending = ann.create("send", rtpCapabilities=capabilities)
    about = {"kind": "audio", "appData": {"source": "microphone"}}
    asked = {"transportId": sending["id"], "rtpParameters": sound(capabilities), **about}
    produced = ann.ask("produce", asked, "produced")
    assert produced["id"] == produced["producerId"]
    named = {"producerId": produced["id"]}
    listed = {**named, "userId": "ann", **about}
    assert bob.next("new:producer")["payload"] == {**listed, "peerId": "ann"}
    assert bob.ask("producers:list", {}, "producers:list") == {"producers": [{**listed, "paused": False}]}

    receiving = bob.create("recv")
    wanted = {"transportId": receiving["id"], **named, "rtpCapabilities": capabilities}
    consumer = bob.ask("consume", wanted, "consumer:created")
    assert {key: consumer[key] for key in listed} == listed
    assert (consumer["type"], consumer["producerPaused"]) == ("simple", False)
    its = {"consumerId": consumer["id"]}
    assert consumer["consumerId"] == consumer["id"]
    for kind, answer in (("resume", "resumed"), ("pause", "paused"), ("keyframe", "keyframe")):
        assert bob.ask(f"consumer:{kind}", its, f"consumer:{answer}") == its
    layers = bob.ask("consumer:layers", {**its, "spatialLayer": 2, "temporalLayer": 1}, "consumer:layers")
    assert layers == {**its, "spatialLayer": 0, "temporalLayer": 1}
    assert bob.ask("consumer:layers", {**its, "spatialLayer": 0}, "consumer:layers")["temporalLayer"] is None

    for kind, answer in (("pause", "paused"), ("resume", "resumed")):
        assert ann.ask(f"producer:{kind}", named, f"producer:{answer}") == named
        assert bob.next(f"producer:{answer}")["payload"] == {**named, "userId": "ann"}
    assert bob.ask("consumer:close", its, "consumer:closed") == its
    again = bob.ask("consume", wanted, "consumer:created")
    assert ann.ask("producer:close", named, "producer:closed") == named
    assert bob.next("consumer:closed")["payload"] == {"consumerId": again["id"]}
    assert bob.next("producer:closed")["payload"] == {**named, "userId": "ann"}
    ann.quiet()
    bob.quiet()


def test_a_transport_from_beginning_to_end(ann):
    created = ann.create("recv")
    named = {"transportId": created["id"]}
    restarted = ann.ask("transport:restart-ice", named, "transport:ice-restarted")
    assert restarted["transportId"] == created["id"]
    assert restarted["iceParameters"]["usernameFragment"] != created["iceParameters"]["usernameFragment"]
    assert ann.ask("transport:close", named, "transport:closed") == named
    ann.refused("TRANSPORT_ERROR", "transport:close", named)
    ann.quiet()


def test_what_does_not_fit_is_refused_by_name(ann):
    capabilities = ann.ask("router:capabilities", {}, "router:capabilities")["rtpCapabilities"]
    sending = ann.create("send", rtpCapabilities=capabilities)
    asked = {"transportId": sending["id"], "kind": "video", "rtpParameters": sound(capabilities)}
    assert ann.refused("PRODUCE_ERROR", "produce", asked)["message"].startswith("kind: ")
    receiving = ann.create("recv")
    nobodys = {"transportId": receiving["id"], "producerId": "nobody's", "rtpCapabilities": capabilities}
    assert ann.refused("CONSUME_ERROR", "consume", nobodys)["message"].startswith("producerId: ")
    ann.quiet()


def test_dots_are_answered_with_dots(server, room, party):
    ann = party(EnvelopePeer(server, "ann"))
    ann.ask("room.join", {"roomId": room}, "room.state")
    created = ann.ask("transport.create", {"direction": "recv"}, "transport.created")
    ann.ask("transport.close", {"transportId": created["id"]}, "transport.closed")
