"""An asyncio client of the Parlor signaling server, over all of its protocols.

The clients differ in the protocol only:

- ``SocketIoClient``: Socket.IO, with session resumption
- ``EnvelopeClient``: ``/ws``, with session resumption and application messages; the protocol of choice
- ``TopicClient``: ``/ws/{topic}``, the smallest
- ``SessionClient``: ``/signal``, for two, with a queue for the absent peer
"""

from .client import Client
from .envelope import EnvelopeClient
from .events import (
    Ended, Event, Joined, Message, Offline, Online, ParlorError, Peer, PeerAway, PeerBack, PeerJoined, PeerLeft, Signal, SignalKind,
)
from .session import OTHER, SessionClient
from .socketio import SocketIoClient
from .topic import TopicClient

__all__ = [
    "OTHER", "Client", "Ended", "EnvelopeClient", "Event", "Joined", "Message", "Offline", "Online", "ParlorError", "Peer", "PeerAway",
    "PeerBack", "PeerJoined", "PeerLeft", "SessionClient", "Signal", "SignalKind", "SocketIoClient", "TopicClient",
]
__version__ = "0.1.0"
