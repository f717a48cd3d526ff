"""The Socket.IO protocol (Engine.IO 4), over a WebSocket, with session resumption."""

import asyncio
import json
import uuid
from typing import Any

from .client import Client
from .events import (
    Joined, Message, ParlorError, Peer, PeerAway, PeerBack, PeerJoined, PeerLeft, Signal, SignalKind,
)

_EVENTS: dict[SignalKind, str] = {"offer": "offer", "answer": "answer", "candidate": "ice-candidate"}
_KINDS: dict[str, SignalKind] = {event: kind for kind, event in _EVENTS.items()}
#: Events of the server for other frontends, which this module ignores.
_SILENT = frozenset(
    {
        "room-users", "room-joined", "user-updated", "user-connected", "user-disconnected", "existing-peers", "existing-users", "all-users",
        "existing-participants", "participants-list",
    }
)
#: Keys that the server adds to a relayed signal.
_SENDER_KEYS = frozenset(
    {
        "from", "userId", "socketId", "roomId", "fromId", "senderId", "fromSocketId", "senderSocketId", "fromUserId", "targetId",
    }
)


class SocketIoClient(Client):
    """A member of a room over Socket.IO. A lost connection resumes its session if the server has kept it."""

    def __init__(self, url: str, *, user_id: str | None = None, **options: Any) -> None:
        super().__init__(url, user_id=user_id or str(uuid.uuid4()), **options)
        self._private_id: str | None = None
        self._offset: str | None = None
        #: Whether the next event is the offset of the last one.
        self._expects_offset = False
        self._next_ack = 0
        self._silence = 45.0
        self._watchdog: asyncio.TimerHandle | None = None

    async def _enter(self) -> Joined:
        if self._socket is None or self._private_id is None:
            await self._connect(None)
        joined = await self._emit_event("join-room", {**self.metadata, **self._names(), "roomId": self.room, "userId": self.user_id})
        peers = [_peer(one) for one in joined["users"]]
        assert self.user_id is not None
        return Joined(self.user_id, peers, joined.get("iceServers") or [])

    async def _resume(self) -> bool:
        private_id = self._private_id
        if private_id is None:
            return False
        await self._connect(private_id)
        return self._private_id == private_id

    async def _connect(self, private_id: str | None) -> None:
        self._expects_offset = False
        opened = asyncio.ensure_future(self._awaited("connect"))
        try:
            await self._open("/socket.io/", EIO="4", transport="websocket")
            auth: dict[str, Any] = {"token": self.token} if self.token else {}
            if private_id is not None:
                auth |= {"pid": private_id, "offset": self._offset}
            await self._send("40" + (json.dumps(auth) if auth else ""))
            self._private_id = (await opened).get("pid")
        except BaseException:
            opened.cancel()
            raise

    def _names(self) -> dict[str, Any]:
        return {"name": self.name} if self.name else {}

    async def message(self, topic: str, data: Any, target: str | None = None) -> None:
        """Sends an event. With ``target``, ``data`` must be an object: the target is one of its keys."""
        if target is not None:
            if not isinstance(data, dict):
                raise ParlorError("INVALID_MESSAGE", "a message to one peer is an object")
            data = {**data, "targetId": target}
        await self._emit_event(topic, data)

    async def _signal(self, kind: SignalKind, target: str, body: Any, extra: dict[str, Any]) -> None:
        await self._emit_event(_EVENTS[kind], {**extra, "targetId": target, "roomId": self.room, kind: body})

    async def _say_leave(self) -> None:
        await self._emit_event("leave-room", {"roomId": self.room})

    async def _emit_event(self, event: str, *args: Any) -> Any:
        """Sends an event and returns the server's acknowledgement."""
        ack, self._next_ack = self._next_ack, self._next_ack + 1
        answer = await self._request(("ack", ack), f"42{ack}{json.dumps([event, *args])}")
        if isinstance(answer, dict) and answer.get("ok") is False:
            raise ParlorError(answer.get("code", "INTERNAL"), answer.get("error", ""), answer.get("retryAfterMs", 0) / 1000)
        return answer

    def _receive(self, frame: str | bytes) -> None:
        # Attachments of other applications' events.
        if isinstance(frame, bytes) or not frame:
            return
        self._watch()
        match frame[0], frame[1:2]:
            case "0", _:
                times = json.loads(frame[1:])
                self._silence = (times["pingInterval"] + times["pingTimeout"]) / 1000
                self._watch()
            case "2", _:
                self._spawn(self._pong())
            case "4", "0":
                answer = json.loads(frame[2:] or "{}")
                if self._private_id is not None and answer.get("pid") == self._private_id:
                    self._recovered()
                self._settle("connect", answer)
            case "4", "1":
                self._end(ParlorError("ROOM_CLOSED", "disconnected by the server"))
            case "4", "2":
                self._receive_event(json.loads(frame[frame.index("[") :]))
            case "4", "3":
                start = frame.index("[")
                self._settle(("ack", int(frame[2:start])), next(iter(json.loads(frame[start:])), None))
            case "4", "4":
                message = json.loads(frame[2:]).get("message", "")
                code = message.split(":")[0].strip()
                self._settle("connect", ParlorError(code if code.isupper() else "REFUSED", message))

    async def _pong(self) -> None:
        try:
            await self._send("3")
        except ParlorError:
            # The reader notices the lost connection.
            return

    def _watch(self) -> None:
        """Closes a connection without heartbeats."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        socket = self._socket

        def give_up() -> None:
            if socket is not None and socket is self._socket:
                socket.transport.abort()

        self._watchdog = asyncio.get_running_loop().call_later(self._silence, give_up)

    async def _drop_socket(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        await super()._drop_socket()

    def _receive_event(self, packet: list[Any]) -> None:
        event, args = packet[0], packet[1:]
        if self._expects_offset and not args:
            self._offset, self._expects_offset = event, False
            return
        self._expects_offset = self._private_id is not None
        data = args[0] if args and isinstance(args[0], dict) else {}
        match event:
            case "user-joined":
                self._emit(PeerJoined(_peer(data)))
            case "user-left":
                self._emit(PeerLeft(data["userId"], data.get("reason")))
            case "user-away":
                self._emit(PeerAway(data["userId"]))
            case "user-back":
                self._emit(PeerBack(data["userId"]))
            case "error":
                error = ParlorError(data.get("code", "INTERNAL"), data.get("message", ""))
                if error.is_final:
                    self._end(error)
            case kind if kind in _KINDS:
                name = _KINDS[kind]
                extra = {key: value for key, value in data.items() if key not in _SENDER_KEYS and key != name}
                self._emit(Signal(name, data["userId"], data.get(name), extra))
            case _ if event not in _SILENT:
                self._emit(Message(data.get("userId", ""), event, args[0] if len(args) == 1 else (args or None)))


def _peer(user: dict[str, Any]) -> Peer:
    known = ("id", "userId", "socketId", "roomId", "joinedAt")
    metadata = {key: value for key, value in user.items() if key not in known}
    return Peer(user["userId"], metadata.get("name"), metadata)
