"""The envelope protocol, ``/ws``: typed messages, application messages, session resumption."""

import json
import time
import uuid
from typing import Any

from .client import Client
from .events import (
    Joined, Message, ParlorError, Peer, PeerAway, PeerBack, PeerJoined, PeerLeft, Signal, SignalKind,
)

_TYPES: dict[SignalKind, str] = {"offer": "sdp:offer", "answer": "sdp:answer", "candidate": "ice:candidate"}
_CANDIDATE = ("candidate", "sdpMid", "sdpMLineIndex", "usernameFragment")


class EnvelopeClient(Client):
    """A member of a room over ``/ws``. A lost connection resumes its session if the server has kept it."""

    def __init__(self, url: str, *, user_id: str | None = None, **options: Any) -> None:
        super().__init__(url, user_id=user_id or str(uuid.uuid4()), **options)
        self._resume_token: str | None = None
        self._sequence = 0
        #: The correlation id of a resumption whose answer is outstanding: until then numbers are those of the new connection.
        self._resuming: str | None = None

    async def _enter(self) -> Joined:
        self._resume_token, self._resuming = None, None
        if self._socket is None:
            await self._open("/ws")
        if self.token:
            await self._ask("auth:request", {"token": self.token})
        user = {"id": self.user_id, "displayName": self.name or self.user_id}
        metadata = {**self.metadata, **({"name": self.name} if self.name else {})}
        state = await self._ask("room:join", {"roomId": self.room, "user": user, "metadata": metadata})
        peers = [_peer(one) for one in state["participants"] if one["userId"] != self.user_id]
        assert self.user_id is not None
        return Joined(self.user_id, peers, state.get("iceServers") or [])

    async def _resume(self) -> bool:
        if self._resume_token is None:
            return False
        await self._open("/ws")
        asked = {"resumeToken": self._resume_token, "lastSequence": self._sequence}
        self._resuming = str(uuid.uuid4())
        try:
            answer = await self._ask("auth:request", asked, self._resuming)
        except ParlorError as error:
            # Without an answer, it may be tried again.
            if error.code in ("OFFLINE", "TIMEOUT"):
                raise
            return False
        return answer.get("recovered") is True

    async def message(self, topic: str, data: Any, target: str | None = None) -> None:
        payload = {"topic": topic, "data": data, "roomId": self.room}
        await self._ask("room:message", payload if target is None else {**payload, "targetUserId": target})

    async def _signal(self, kind: SignalKind, target: str, body: Any, extra: dict[str, Any]) -> None:
        if kind == "candidate":
            body = {"candidate": None, "sdpMid": None, "sdpMLineIndex": None, **(body or {})}
        await self._ask(_TYPES[kind], {**extra, **body, "targetUserId": target, "roomId": self.room})

    async def _say_leave(self) -> None:
        await self._ask("room:leave", {"roomId": self.room})

    async def _ask(self, kind: str, payload: dict[str, Any], correlation: str | None = None) -> Any:
        correlation = correlation or str(uuid.uuid4())
        envelope = {"type": kind, "payload": payload, "timestamp": int(time.time() * 1000), "correlationId": correlation}
        return await self._request(correlation, json.dumps(envelope))

    def _receive(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        kind, payload, correlation = message["type"], message.get("payload") or {}, message.get("correlationId")
        sequence = message.get("sequence")
        if sequence is not None and (self._resuming is None or payload.get("recovered") is False):
            self._sequence = sequence
        if correlation is not None and correlation == self._resuming:
            self._resuming = None
            if payload.get("recovered") is True:
                self._recovered()
        # Other messages are relayed, and contain what their sender likes.
        if kind in ("auth:response", "room:state"):
            self._resume_token = payload.get("resumeToken") or self._resume_token
        if kind == "error":
            error = ParlorError(payload.get("code", "INTERNAL"), payload.get("message", ""), payload.get("retryAfterMs", 0) / 1000)
            if not self._settle(correlation, error) and error.is_final:
                self._end(error)
        elif kind == "auth:response" and payload.get("success") is False:
            error = payload.get("error") or {}
            self._settle(correlation, ParlorError(error.get("code", "UNAUTHORIZED"), error.get("message", "")))
        elif not self._settle(correlation, payload):
            self._hear(kind, payload)

    def _hear(self, kind: str, payload: dict[str, Any]) -> None:
        sender = payload.get("fromUserId", "")
        match kind:
            case "room:participant-joined":
                self._emit(PeerJoined(_peer(payload["participant"])))
            case "room:participant-left":
                self._emit(PeerLeft(payload["userId"], payload.get("reason")))
            case "room:participant-away":
                self._emit(PeerAway(payload["userId"]))
            case "room:participant-back":
                self._emit(PeerBack(payload["userId"]))
            case "sdp:offer" | "sdp:answer":
                name: SignalKind = "offer" if kind == "sdp:offer" else "answer"
                sdp = payload["sdp"]
                body = sdp if isinstance(sdp, dict) else {"type": payload.get("type", name), "sdp": sdp}
                self._emit(Signal(name, sender, body, _extra(payload, ("sdp", "type"))))
            case "ice:candidate":
                body = None if payload.get("candidate") is None else {key: payload.get(key) for key in _CANDIDATE}
                self._emit(Signal("candidate", sender, body, _extra(payload, _CANDIDATE)))
            case "room:message":
                self._emit(Message(sender, payload["topic"], payload.get("data")))


def _extra(payload: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    ours = {*without, "fromUserId", "targetUserId", "roomId", "sentAt"}
    return {key: value for key, value in payload.items() if key not in ours}


def _peer(participant: dict[str, Any]) -> Peer:
    user_id, name = participant["userId"], participant.get("displayName")
    # The server gives the id as the name of a peer that has none.
    return Peer(user_id, None if name == user_id else name, participant.get("metadata") or {})
