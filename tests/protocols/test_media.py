"""Media requests over `/ws`. Media itself is tested in browsers."""

import pytest

from support import EnvelopePeer

FINGERPRINT = ":".join(["0A"] * 32)
OPUS = {"mimeType": "audio/opus", "clockRate": 48000, "channels": 2}


def audio_parameters(capabilities, mid="0"):
    """Returns the RTP parameters of an audio track, with the payload types of the router."""
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
    """A peer with a transport."""

    def create(self, direction, **more):
        created = self.request("transport:create", {"direction": direction, **more}, "transport:created")
        dtls = {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": FINGERPRINT}]}
        named = {"transportId": created["id"]}
        assert self.request("transport:connect", {**named, "dtlsParameters": dtls}, "transport:connected") == named
        return created


@pytest.fixture
def ann(server, room, add_peer):
    ann = add_peer(Sender(server, "ann"))
    ann.join(room, user={"id": "ann"})
    return ann


@pytest.fixture
def bob(server, room, add_peer, ann):
    bob = add_peer(Sender(server, "bob"))
    bob.join(room, user={"id": "bob"})
    ann.next("room:participant-joined")
    return bob


def test_lifecycle_of_a_track(ann, bob):
    capabilities = ann.request("router:capabilities", {}, "router:capabilities")["rtpCapabilities"]
    sending = ann.create("send", rtpCapabilities=capabilities)
    about = {"kind": "audio", "appData": {"source": "microphone"}}
    asked = {"transportId": sending["id"], "rtpParameters": audio_parameters(capabilities), **about}
    produced = ann.request("produce", asked, "produced")
    assert produced["id"] == produced["producerId"]
    named = {"producerId": produced["id"]}
    listed = {**named, "userId": "ann", **about}
    assert bob.next("new:producer")["payload"] == {**listed, "peerId": "ann"}
    assert bob.request("producers:list", {}, "producers:list") == {"producers": [{**listed, "paused": False}]}

    receiving = bob.create("recv")
    wanted = {"transportId": receiving["id"], **named, "rtpCapabilities": capabilities}
    consumer = bob.request("consume", wanted, "consumer:created")
    assert {key: consumer[key] for key in listed} == listed
    assert (consumer["type"], consumer["producerPaused"]) == ("simple", False)
    its = {"consumerId": consumer["id"]}
    assert consumer["consumerId"] == consumer["id"]
    for kind, answer in (("resume", "resumed"), ("pause", "paused"), ("keyframe", "keyframe")):
        assert bob.request(f"consumer:{kind}", its, f"consumer:{answer}") == its
    layers = bob.request("consumer:layers", {**its, "spatialLayer": 2, "temporalLayer": 1}, "consumer:layers")
    assert layers == {**its, "spatialLayer": 0, "temporalLayer": 1}
    assert bob.request("consumer:layers", {**its, "spatialLayer": 0}, "consumer:layers")["temporalLayer"] is None

    for kind, answer in (("pause", "paused"), ("resume", "resumed")):
        assert ann.request(f"producer:{kind}", named, f"producer:{answer}") == named
        assert bob.next(f"producer:{answer}")["payload"] == {**named, "userId": "ann"}
    assert bob.request("consumer:close", its, "consumer:closed") == its
    again = bob.request("consume", wanted, "consumer:created")
    assert ann.request("producer:close", named, "producer:closed") == named
    assert bob.next("consumer:closed")["payload"] == {"consumerId": again["id"]}
    assert bob.next("producer:closed")["payload"] == {**named, "userId": "ann"}
    ann.assert_no_message()
    bob.assert_no_message()


def test_lifecycle_of_a_transport(ann):
    created = ann.create("recv")
    named = {"transportId": created["id"]}
    restarted = ann.request("transport:restart-ice", named, "transport:ice-restarted")
    assert restarted["transportId"] == created["id"]
    assert restarted["iceParameters"]["usernameFragment"] != created["iceParameters"]["usernameFragment"]
    assert ann.request("transport:close", named, "transport:closed") == named
    ann.refused("TRANSPORT_ERROR", "transport:close", named)
    ann.assert_no_message()


def test_invalid_parameters_are_refused_by_name(ann):
    capabilities = ann.request("router:capabilities", {}, "router:capabilities")["rtpCapabilities"]
    sending = ann.create("send", rtpCapabilities=capabilities)
    asked = {"transportId": sending["id"], "kind": "video", "rtpParameters": audio_parameters(capabilities)}
    assert ann.refused("PRODUCE_ERROR", "produce", asked)["message"].startswith("kind: ")
    receiving = ann.create("recv")
    missing = {"transportId": receiving["id"], "producerId": "missing", "rtpCapabilities": capabilities}
    assert ann.refused("CONSUME_ERROR", "consume", missing)["message"].startswith("producerId: ")
    ann.assert_no_message()


def test_dots_are_answered_with_dots(server, room, add_peer):
    ann = add_peer(EnvelopePeer(server, "ann"))
    ann.request("room.join", {"roomId": room}, "room.state")
    created = ann.request("transport.create", {"direction": "recv"}, "transport.created")
    ann.request("transport.close", {"transportId": created["id"]}, "transport.closed")
