"""`memory://name`: inside one process, for tests and for programs that hold both ends.

Each connection is a socketpair and a listener's descriptor is a socket, so it works with the same selectors, timeouts
and half closes as a network connection.

A listener's queue holds the accepting ends. A second socketpair makes it selectable: it holds one byte while the queue
is not empty. If the queue is full, `connect` waits, as with TCP.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import threading

from bets_protocol.errors import ConnectError, TransportError
from bets_protocol.transports.base import ConnectTimeout, Listener, Stream, Url
from bets_protocol.transports.sockets import SocketStream, closed_on_error, os_errors_as


class MemoryTransport:
    """The `Transport` of the scheme ``memory``; each instance has its own table of names."""

    def __init__(self) -> None:
        self.listeners: dict[str, _MemoryListener] = {}
        # Guards the table and all queues; notified when a queue gets shorter or a listener closes. Reentrant, so that
        # a signal handler that closes a listener in the middle of an `accept` does not wait for itself.
        self.changed = threading.Condition(threading.RLock())

    def connect(self, url: Url, timeout_s: float) -> Stream:
        doing = f"cannot connect to {url}"
        with self.changed:
            if not self.changed.wait_for(lambda: not self._is_full(url.host), timeout_s):
                raise ConnectTimeout(f"{doing}: timed out, the server does not accept")
            listener = self.listeners.get(url.host)
            if listener is None:
                raise ConnectError(f"{doing}: nobody listens there")
            with os_errors_as(ConnectError, doing):
                return listener.new_connection()

    def listen(self, url: Url, backlog: int) -> Listener:
        doing = f"cannot listen on {url}"
        with self.changed:
            if url.host in self.listeners:
                raise ConnectError(f"{doing}: address already in use")
            with os_errors_as(ConnectError, doing):
                listener = _MemoryListener(url, backlog, self)
            self.listeners[url.host] = listener
            return listener

    def _is_full(self, name: str) -> bool:
        listener = self.listeners.get(name)
        return listener is not None and len(listener.queue) >= listener.backlog


class _MemoryListener(Listener):
    """The queue of one name, which is in the table of its transport until it closes."""

    def __init__(self, url: Url, backlog: int, transport: MemoryTransport) -> None:
        self.url = str(url)
        self._name = url.host
        self.backlog = backlog
        self._transport = transport
        self.queue: collections.deque[socket.socket] = collections.deque()
        self._ready, self._signal = socket.socketpair()

    def new_connection(self) -> Stream:
        """Queues one end and returns the other. The caller holds the lock and has seen that there is room."""
        ours, theirs = socket.socketpair()
        with closed_on_error(ours):
            stream = SocketStream(ours, "memory")
            with closed_on_error(theirs):
                theirs.setblocking(False)
                if not self.queue:
                    self._signal.send(b"\0")
            self.queue.append(theirs)
            return stream

    def fileno(self) -> int:
        return self._ready.fileno()

    def accept(self) -> Stream | None:
        with self._transport.changed:
            if self.fileno() < 0:
                raise TransportError(f"cannot accept on {self.url}: the listener is closed")
            if not self.queue:
                return None
            sock = self.queue.popleft()
            if not self.queue:
                self._ready.recv(1)
            self._transport.changed.notify_all()
            return SocketStream(sock, "memory")

    def close(self) -> None:
        with self._transport.changed:
            if self._transport.listeners.get(self._name) is self:
                del self._transport.listeners[self._name]
            for sock in (*self.queue, self._ready, self._signal):
                with contextlib.suppress(OSError):
                    sock.close()
            self.queue.clear()
            self._transport.changed.notify_all()
