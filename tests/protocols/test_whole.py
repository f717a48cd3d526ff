"""Checks, after all other tests, that every message of asyncapi.json was sent or received."""

import pytest

from documents import MESSAGES, exercised

#: Messages that no test here exercises, each with the reason.
NOT_EXERCISED = {
    "envelope.server.transport.failed": "needs ICE and DTLS: tests/it",
    "envelope.server.consumer.layers-changed": "needs video: tests/browser",
    "envelope.server.room.active-speaker": "needs audio: tests/browser",
}


def test_every_message_of_the_document_was_exercised(request):
    ran = {item.path.name for item in request.session.items}
    if not {"test_session.py", "test_envelope.py", "test_media.py", "test_topic.py"} <= ran or request.config.option.keyword:
        pytest.skip("not all protocols were tested")
    known = {key for key, _ in MESSAGES.values()}
    assert not set(NOT_EXERCISED) - known, "NOT_EXERCISED has unknown messages"
    assert not set(NOT_EXERCISED) & exercised, "NOT_EXERCISED has exercised messages"
    missing = sorted(known - exercised - set(NOT_EXERCISED))
    assert not missing, "no test exercises " + ", ".join(missing)


def test_every_message_of_the_document_belongs_to_an_operation():
    from documents import ASYNCAPI

    known = {key for key, _ in MESSAGES.values()}
    assert sorted(set(ASYNCAPI["components"]["messages"]) - known) == [], "messages without an operation"


def test_every_example_matches_its_schema():
    from documents import ASYNCAPI

    for key, validator in MESSAGES.values():
        for example in ASYNCAPI["components"]["messages"][key]["examples"]:
            validator.validate(example["payload"])
