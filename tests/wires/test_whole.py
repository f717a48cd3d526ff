"""Last: every message of asyncapi.json was sent or heard, and was as the document says."""

import pytest

from documents import MESSAGES, exercised

#: Messages that no test here exercises, each with the reason.
NOT_YET = {
    "envelope.server.transport.failed": "it takes ICE and DTLS: tests/it",
    "envelope.server.consumer.layers-changed": "it takes pictures: tests/browser",
    "envelope.server.room.active-speaker": "it takes sound: tests/browser",
}


def test_every_message_of_the_document_was_exercised(request):
    ran = {item.path.name for item in request.session.items}
    if not {"test_session.py", "test_envelope.py", "test_media.py", "test_topic.py"} <= ran or request.config.option.keyword:
        pytest.skip("not all the wires were tested")
    known = {key for key, _ in MESSAGES.values()}
    assert not set(NOT_YET) - known, "NOT_YET names what the document does not have"
    assert not set(NOT_YET) & exercised, "NOT_YET names what is exercised after all"
    missing = sorted(known - exercised - set(NOT_YET))
    assert not missing, "no test exercises " + ", ".join(missing)


def test_every_message_of_the_document_travels():
    from documents import ASYNCAPI

    known = {key for key, _ in MESSAGES.values()}
    assert sorted(set(ASYNCAPI["components"]["messages"]) - known) == [], "no operation has these"


def test_every_example_is_as_its_schema_says():
    from documents import ASYNCAPI

    for key, validator in MESSAGES.values():
        for example in ASYNCAPI["components"]["messages"][key]["examples"]:
            validator.validate(example["payload"])
