"""Excludes requests that schemathesis cannot send."""

import schemathesis


@schemathesis.hook
def filter_body(context, body):
    """Excludes ids that its requests cannot have in a path: it does not encode a percent sign, and it resolves `.` and `..`."""
    room = str(body.get("roomId")) if isinstance(body, dict) else ""
    return "%" not in room and room.strip() not in (".", "..")
