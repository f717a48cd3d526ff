"""The OpenAPI and AsyncAPI documents, and validation of messages against them."""

import json
from pathlib import Path

from jsonschema import Draft7Validator

DOCS = Path(__file__).resolve().parents[2] / "docs"
ASYNCAPI = json.loads((DOCS / "asyncapi.json").read_text())
OPENAPI = json.loads((DOCS / "openapi.json").read_text())

#: The protocols of the document, and both directions.
PROTOCOLS = tuple(ASYNCAPI["channels"])
CLIENT, SERVER = "client", "server"

#: Keys of the messages that were sent or received, and are valid.
exercised = set()


def _keys(protocol, direction):
    """Returns the messages of the document in this direction."""
    action = {CLIENT: "receive", SERVER: "send"}[direction]
    refs = {
        ref["$ref"].rsplit("/", 1)[1]
        for operation in ASYNCAPI["operations"].values()
        if operation["action"] == action and operation["channel"]["$ref"] == f"#/channels/{protocol}"
        for ref in operation["messages"]
    }
    return sorted(refs)


def _types(payload):
    kind = payload["properties"]["type"]
    return kind["enum"] if "enum" in kind else [kind["const"]]


def _validator(payload):
    # References are to `#/components/…`, so the components are included.
    schema = {**payload, "components": ASYNCAPI["components"]}
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


MESSAGES = {
    (protocol, direction, kind): (key, _validator(ASYNCAPI["components"]["messages"][key]["payload"]))
    for protocol in PROTOCOLS
    for direction in (CLIENT, SERVER)
    for key in _keys(protocol, direction)
    for kind in _types(ASYNCAPI["components"]["messages"][key]["payload"])
}


def check(protocol, direction, message):
    """Fails unless this message is valid for this protocol and direction."""
    kind = message.get("type") if isinstance(message, dict) else None
    found = MESSAGES.get((protocol, direction, kind))
    assert found, f"asyncapi.json has no message {kind!r} from a {direction} of the {protocol} protocol: {message!r}"
    key, validator = found
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(message)]
    assert not problems, f"invalid by asyncapi.json, {key}:\n  " + "\n  ".join(problems) + f"\n  {message!r}"
    exercised.add(key)
