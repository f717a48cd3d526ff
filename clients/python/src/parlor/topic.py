"""The topic protocol, ``/ws/{topic}``: peers find each other, and no more. The server assigns the ids."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

from .client import Client
from .events import Joined, Message, ParlorError, Peer, PeerJoined, PeerLeft, Signal, SignalKind

_TYPES: dict[SignalKind, str] = {"offer": "offer", "answer": "answer", "candidate": "ice-candidate"}
_KINDS: dict[str, SignalKind] = {kind: name for name, kind in _TYPES.items()}


class TopicClient(Client):
    """A member of a topic. There is no session resumption: after a lost connection it has a new id."""

    async def _enter(self) -> Joined:
        metadata = {**self.metadata, **({"name": self.name} if self.name else {})}
        listed = asyncio.ensure_future(self._awaited("peer-list"))
        try:
            await self._open(f"/ws/{quote(self.room or '', safe='')}", metadata=json.dumps(metadata) if metadata else None, token=self.token)
            peers = await listed
        finally:
            listed.cancel()
        assert self.user_id is not None
        return Joined(self.user_id, [_peer(one["id"], one.get("metadata")) for one in peers])

    async def message(self, topic: str, data: Any, target: str | None = None) -> None:
        """This protocol has one kind of message: ``topic`` must be ``"message"``."""
        if topic != "message":
            raise ParlorError("INVALID_MESSAGE", 'the only topic of this protocol is "message"')
        await self._send(json.dumps({"type": "message", "payload": data, **({"to": target} if target else {})}))

    async def _signal(self, kind: SignalKind, target: str, body: Any, extra: dict[str, Any]) -> None:
        # This protocol carries no additional keys.
        await self._send(json.dumps({"type": _TYPES[kind], "to": target, "payload": body}))

    def _receive(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        match message["type"]:
            case "welcome":
                self.user_id = message["selfId"]
            case "peer-list":
                self._settle("peer-list", message["peers"])
            case "peer-joined":
                self._emit(PeerJoined(_peer(message["peerId"], message.get("metadata"))))
            case "peer-left":
                self._emit(PeerLeft(message["peerId"]))
            case "message":
                self._emit(Message(message["from"], "message", message.get("payload")))
            case "error" if message.get("code", "").upper() in ParlorError.FINAL:
                self._end(ParlorError(message["code"].upper(), message.get("message", "")))
            case kind if kind in _KINDS:
                self._emit(Signal(_KINDS[kind], message["from"], message.get("payload")))


def _peer(peer_id: str, metadata: dict[str, Any] | None) -> Peer:
    return Peer(peer_id, (metadata or {}).get("name"), metadata or {})
