"""The session protocol, ``/signal``: calls for two over a shared link. The server queues signals while the other peer is absent."""

import json
from typing import Any

from .client import Client
from .events import Joined, ParlorError, Peer, PeerJoined, PeerLeft, Signal, SignalKind

#: The id of the other peer: this protocol has no names.
OTHER = "other"


class SessionClient(Client):
    """One of the two peers of a pair session.

    The server does not report whether the other peer has joined: ``join`` returns no peers. Offer at once, the server keeps the offer; or wait
    for the offer of the other peer. A session link should say which of the two calls.
    """

    async def _enter(self) -> Joined:
        await self._open("/signal", token=self.token)
        await self._send(json.dumps({"type": "join", "sessionId": self.room}))
        return Joined("", [])

    async def hang_up(self) -> None:
        """Ends the call for both."""
        await self._send(json.dumps({"type": "hangup", "sessionId": self.room}))

    async def _signal(self, kind: SignalKind, target: str, body: Any, extra: dict[str, Any]) -> None:
        key = "candidate" if kind == "candidate" else "sdp"
        await self._send(json.dumps({**extra, "type": kind, "sessionId": self.room, key: body}))

    async def _say_leave(self) -> None:
        await self._send(json.dumps({"type": "leave", "sessionId": self.room}))

    def _receive(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        kind = message["type"]
        if kind in ("offer", "answer", "candidate"):
            body = message.get("candidate" if kind == "candidate" else "sdp")
            if kind != "candidate" and isinstance(body, str):
                body = {"type": kind, "sdp": body}
            extra = {key: value for key, value in message.items() if key not in ("type", "sessionId", "sdp", "candidate")}
            self._emit(Signal(kind, OTHER, body, extra))
        elif kind == "peer-joined":
            self._emit(PeerJoined(Peer(OTHER)))
        elif kind == "peer-left":
            self._emit(PeerLeft(OTHER))
        elif kind == "hangup":
            self._end(ParlorError("HUNG_UP", "the call was ended"))
        elif kind == "error":
            error = ParlorError(message.get("code", "INTERNAL"), message.get("message", ""))
            if error.is_final:
                self._end(error)
