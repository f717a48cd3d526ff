"""What a client receives, as immutable values."""

from dataclasses import dataclass, field
from typing import Any, Literal

SignalKind = Literal["offer", "answer", "candidate"]


class ParlorError(Exception):
    """An error of the server, or of the connection to it.

    ``code`` is one of the server's codes, or ``OFFLINE``, ``TIMEOUT`` or ``UNREACHABLE``.
    """

    #: After these the room cannot be joined again without a change.
    FINAL = frozenset(
        {
            "FORBIDDEN", "INVALID_MESSAGE", "KICKED", "REPLACED", "ROOM_CLOSED", "ROOM_FULL", "ROOM_NOT_FOUND", "SESSION_ENDED", "UNAUTHORIZED",
        }
    )

    def __init__(self, code: str, message: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message or code)
        self.code = code
        #: Seconds after which a retry can succeed.
        self.retry_after = retry_after

    @property
    def is_final(self) -> bool:
        """Whether reconnecting cannot help."""
        return self.code in self.FINAL


@dataclass(frozen=True)
class Peer:
    """Another member of the room."""

    id: str
    name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Joined:
    """The result of a join: the client's own id, the peers that were already there, and the server's ICE servers."""

    user_id: str
    peers: list[Peer]
    ice_servers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class PeerJoined:
    """A peer has joined. It sends an offer to each peer that was there before."""

    peer: Peer


@dataclass(frozen=True)
class PeerLeft:
    """A peer has left."""

    peer_id: str
    reason: str | None = None


@dataclass(frozen=True)
class PeerAway:
    """A peer has lost its connection to the server and may resume. Its media may still flow."""

    peer_id: str


@dataclass(frozen=True)
class PeerBack:
    """A peer has resumed its session."""

    peer_id: str


@dataclass(frozen=True)
class Signal:
    """An offer, an answer or a candidate of a peer. ``body`` is as the sender wrote it; a candidate may be None."""

    kind: SignalKind
    sender: str
    body: Any
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """An application message."""

    sender: str
    topic: str
    data: Any


@dataclass(frozen=True)
class Offline:
    """The connection is lost. The client reconnects."""

    reason: str


@dataclass(frozen=True)
class Online:
    """The connection is back. With ``recovered``, missed events follow; otherwise the room was joined again, and ``peers`` are its members."""

    recovered: bool
    peers: list[Peer] | None = None


@dataclass(frozen=True)
class Ended:
    """The client is out of the room, and does not reconnect."""

    error: ParlorError


Event = PeerJoined | PeerLeft | PeerAway | PeerBack | Signal | Message | Offline | Online | Ended
