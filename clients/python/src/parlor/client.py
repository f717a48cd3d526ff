"""The common part of all protocols: the connection, requests, reconnection, and the queue of events."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from .events import Ended, Event, Joined, Offline, Online, ParlorError, SignalKind

#: Seconds that a request may take before it fails with ``TIMEOUT``.
ANSWER_TIMEOUT = 8.0
#: Delays between two attempts to reconnect, in seconds. A random part is subtracted, so that clients do not return all at once.
FIRST_DELAY, LAST_DELAY = 0.5, 4.0


class Client:
    """A member of one room. Use one of its subclasses, which differ in the protocol only.

    >>> async with EnvelopeClient("http://localhost:4000", name="Ann") as client:
    ...     joined = await client.join("lobby")
    ...     async for event in client:
    ...         ...
    """

    def __init__(
        self, url: str, *, user_id: str | None = None, name: str | None = None, token: str | None = None,
        metadata: dict[str, Any] | None = None, reconnect: bool = True,
    ) -> None:
        self.url = url
        self.user_id = user_id
        self.name = name
        self.metadata = dict(metadata or {})
        self.token = token
        self.reconnect = reconnect
        self.room: str | None = None
        self._socket: ClientConnection | None = None
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._requests: dict[Any, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_member = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yields the events of the room until the client leaves it."""
        while (event := await self._events.get()) is not None:
            yield event
            if isinstance(event, Ended):
                return

    async def join(self, room: str) -> Joined:
        """Connects and joins. Raises a ``ParlorError``, after which no connection is open."""
        self.room = room
        try:
            joined = await self._enter()
        except (OSError, TimeoutError, WebSocketException) as error:
            await self._disconnect()
            raise ParlorError("UNREACHABLE", _reason(error)) from error
        except ParlorError:
            await self._disconnect()
            raise
        self._is_member = True
        return joined

    async def leave(self) -> None:
        """Leaves the room and disconnects."""
        if self._is_member and self._socket is not None:
            with contextlib.suppress(ConnectionClosed, ParlorError):
                await self._say_leave()
        await self._disconnect()
        self._events.put_nowait(None)

    async def offer(self, target: str, description: Any, **extra: Any) -> None:
        """Sends an offer, a ``{"type", "sdp"}``. ``extra`` are additional keys for the receiver, if the protocol carries them."""
        await self._signal("offer", target, description, extra)

    async def answer(self, target: str, description: Any, **extra: Any) -> None:
        """Sends an answer, a ``{"type", "sdp"}``."""
        await self._signal("answer", target, description, extra)

    async def candidate(self, target: str, candidate: Any, **extra: Any) -> None:
        """Sends a candidate, ``{"candidate", "sdpMid", "sdpMLineIndex"}``, or None at their end."""
        await self._signal("candidate", target, candidate, extra)

    async def message(self, topic: str, data: Any, target: str | None = None) -> None:
        """Sends an application message to one peer, or to all others."""
        raise ParlorError("INVALID_MESSAGE", "this protocol has no application messages")

    # For protocols.

    async def _enter(self) -> Joined:
        """Connects and joins the room."""
        raise NotImplementedError

    async def _resume(self) -> bool:
        """Connects and resumes the session. False: it has to join again, over the connection that is open if there is one.

        Calls ``_recovered`` when the answer arrives, since missed messages follow it at once.
        """
        return False

    async def _signal(self, kind: SignalKind, target: str, body: Any, extra: dict[str, Any]) -> None:
        raise NotImplementedError

    async def _say_leave(self) -> None:
        """Sends the last message before closing."""

    def _receive(self, frame: str | bytes) -> None:
        """Handles a frame."""
        raise NotImplementedError

    async def _open(self, path: str, **query: str | None) -> None:
        """Opens the WebSocket. Frames are handled in a task of their own from then on."""
        await self._drop_socket()
        parts = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        given = {name: value for name, value in query.items() if value is not None}
        address = urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, urlencode(given), ""))
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            socket = await connect(address, additional_headers=headers, max_size=None, open_timeout=ANSWER_TIMEOUT)
        except InvalidStatus as refusal:
            raise _refusal(refusal) from refusal
        self._socket = socket
        self._spawn(self._read(socket))

    async def _send(self, text: str) -> None:
        if self._socket is None:
            raise ParlorError("OFFLINE")
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise ParlorError("OFFLINE", _reason(closed)) from closed

    async def _request(self, key: Any, text: str) -> Any:
        """Sends a request and returns what ``_settle`` is called with for its key."""
        answer = asyncio.get_running_loop().create_future()
        self._requests[key] = answer
        try:
            await self._send(text)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answer
        except TimeoutError:
            raise ParlorError("TIMEOUT") from None
        finally:
            self._requests.pop(key, None)

    async def _awaited(self, key: Any) -> Any:
        """Waits for what ``_settle`` is called with for a key that no request has."""
        answer = self._expect(key)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answer
        except TimeoutError:
            raise ParlorError("TIMEOUT") from None
        finally:
            self._requests.pop(key, None)

    def _expect(self, key: Any) -> asyncio.Future[Any]:
        return self._requests.setdefault(key, asyncio.get_running_loop().create_future())

    def _settle(self, key: Any, value: Any) -> bool:
        """Answers a request; an exception fails it. Returns whether there was one."""
        request = self._requests.get(key)
        if request is None or request.done():
            return False
        if isinstance(value, ParlorError):
            request.set_exception(value)
        else:
            request.set_result(value)
        return True

    def _recovered(self) -> None:
        self._emit(Online(recovered=True))

    def _emit(self, event: Event) -> None:
        self._events.put_nowait(event)

    def _end(self, error: ParlorError) -> None:
        """The client is out of the room."""
        if self._is_member:
            self._is_member = False
            self._emit(Ended(error))
            self._spawn(self._drop_socket())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, socket: ClientConnection) -> None:
        reason = "closed"
        try:
            async for frame in socket:
                self._receive(frame)
        except ConnectionClosed as closed:
            reason = _reason(closed)
        if socket is not self._socket:
            return
        self._socket = None
        for request in self._requests.values():
            if not request.done():
                request.set_exception(ParlorError("OFFLINE", reason))
                # The caller may have stopped waiting.
                request.exception()
        if self._is_member:
            if self.reconnect:
                self._emit(Offline(reason))
                await self._reconnect()
            else:
                self._end(ParlorError("OFFLINE", reason))

    async def _reconnect(self) -> None:
        delay = FIRST_DELAY
        while self._is_member:
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LAST_DELAY)
            try:
                if await self._resume():
                    return
                joined = await self._enter()
            except ParlorError as error:
                if error.is_final:
                    self._end(error)
                    return
                delay = max(delay, error.retry_after)
            except (OSError, TimeoutError, WebSocketException):
                continue
            else:
                self._emit(Online(recovered=False, peers=joined.peers))
                return

    async def _drop_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _disconnect(self) -> None:
        self._is_member = False
        await self._drop_socket()
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _refusal(refusal: InvalidStatus) -> ParlorError:
    """The server's reason for refusing a handshake, which is JSON in the body."""
    response = refusal.response
    try:
        error = json.loads(response.body or b"")
        return ParlorError(error["code"], error.get("error", ""))
    except (ValueError, KeyError, TypeError):
        code = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 503: "SHUTTING_DOWN"}.get(response.status_code, "UNREACHABLE")
        return ParlorError(code, f"the server answered {response.status_code}")
