"""The two documents, and whether a message is as they say."""

import json
from pathlib import Path

from jsonschema import Draft7Validator

DOCS = Path(__file__).resolve().parents[2] / "docs"
ASYNCAPI = json.loads((DOCS / "asyncapi.json").read_text())
OPENAPI = json.loads((DOCS / "openapi.json").read_text())

#: The wires that the document describes, and both directions of each.
WIRES = tuple(ASYNCAPI["channels"])
CLIENT, SERVER = "client", "server"

#: Keys of the messages that were sent or heard, and found to be as the document says.
exercised = set()


def _keys(wire, direction):
    """The messages that the document's operations let travel in this direction."""
    action = {CLIENT: "receive", SERVER: "send"}[direction]
    refs = {
        ref["$ref"].rsplit("/", 1)[1]
        for operation in ASYNCAPI["operations"].values()
        if operation["action"] == action and operation["channel"]["$ref"] == f"#/channels/{wire}"
        for ref in operation["messages"]
    }
    return sorted(refs)


def _types(payload):
    kind = payload["properties"]["type"]
    return kind["enum"] if "enum" in kind else [kind["const"]]


def _validator(payload):
    # References are to `#/components/…`, so the components come along.
    schema = {**payload, "components": ASYNCAPI["components"]}
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


MESSAGES = {
    (wire, direction, kind): (key, _validator(ASYNCAPI["components"]["messages"][key]["payload"]))
    for wire in WIRES
    for direction in (CLIENT, SERVER)
    for key in _keys(wire, direction)
    for kind in _types(ASYNCAPI["components"]["messages"][key]["payload"])
}


def check(wire, direction, message):
    """Fails unless the document has this message, on this wire and in this direction, as it is."""
    kind = message.get("type") if isinstance(message, dict) else None
    found = MESSAGES.get((wire, direction, kind))
    assert found, f"asyncapi.json has no message {kind!r} from a {direction} on the {wire} wire: {message!r}"
    key, validator = found
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(message)]
    assert not problems, f"not as asyncapi.json says in {key}:\n  " + "\n  ".join(problems) + f"\n  {message!r}"
    exercised.add(key)
