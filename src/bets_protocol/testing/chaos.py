"""A TCP proxy that mistreats what passes through it, as a seed decides: the network of the tests with real programs.

Strategy: one thread, one selector loop, real sockets. Each connection gets a `Plan` when it is accepted; plan number
`n` of a seed is always the same, so whoever knows the seed knows what the n-th connection suffered. What was really
done to bytes stands in `faults`.

Rules:

1. Bytes are delayed, cut off or lost, never changed, doubled or put into another order: TCP would not do that either.
2. A hole is silent. Who sends into it is not told, and the other end does not learn when it gives up: the connection
   is half open from then on. Bytes lost in a hole are gone; in a *late* one they come out when the faults stop, on the
   old connection, however many newer ones there are by then.
3. After `stop_faults` the network is good: what was delayed goes on, what lost bytes is reset, new connections are
   passed on as they are.
4. `close` ends the thread and every socket.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from bets_protocol.testing._chaos_pipe import READ_BYTES, Pipe, ProxiedConnection, close_socket
from bets_protocol.testing._chaos_plan import Fault, Plan, Way, drawn_plan
from bets_protocol.transports.base import Closing

__all__ = ["ChaosProxy", "Fault", "Plan", "Way", "drawn_plan"]

_CONNECT_S: Final = 5.0
_LONGEST_NAP_S: Final = 1.0


class ChaosProxy(Closing):
    """Listens on a free port of the loopback and passes connections on, mistreated.

    Args:
        port: of the server, on the loopback.
        seed: decides the plans.
        plan: gives the plan of a connection by its number; None: `drawn_plan` does.
        watch: is told all that comes, before anything is done to it: the connection's number, whether it goes to the
            server, the bytes. Runs on the proxy's thread, so it must neither wait nor call the proxy.

    Attributes:
        url: for clients.
        accepted: how many connections there have been.

    Thread: any, one at a time.
    """

    def __init__(
        self,
        port: int,
        *,
        seed: int = 0,
        plan: Callable[[int], Plan] | None = None,
        watch: Callable[[int, bool, bytes], None] | None = None,
    ) -> None:
        self._server = ("127.0.0.1", port)
        self._plan = plan or (lambda number: drawn_plan(seed, number))
        self._watch = watch
        self._faults: list[Fault] = []
        self.accepted = 0
        self._connections: list[ProxiedConnection] = []
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._healed = self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._waking, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="chaos proxy", daemon=True)
        self._thread.start()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What was done so far, in order."""
        return tuple(self._faults)

    def stop_faults(self) -> None:
        """Heals the network; done when it returns."""
        self._order(self._heal)

    def close(self) -> None:
        """Resets every connection and ends the thread. Twice is harmless."""
        if self._thread.is_alive():
            self._order(self._shut)
            self._thread.join()

    def _order(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.append((what, done))
        self._waking.send(b"!")
        while not done.wait(_LONGEST_NAP_S):
            if not self._thread.is_alive():
                raise RuntimeError("the chaos proxy has died")

    def _heal(self) -> None:
        self._healed = True
        for connection in list(self._connections):
            if any(pipe.beyond_repair for pipe in connection.pipes):
                self._end(connection, reset=True)
            for pipe in connection.pipes:
                pipe.heal()

    def _shut(self) -> None:
        self._closing = True
        for connection in list(self._connections):
            self._end(connection, reset=True)

    def _run(self) -> None:
        with self._listener, self._waking, self._woken:
            while not self._closing:
                self._turn()

    def _turn(self) -> None:
        with selectors.PollSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            now = time.monotonic()
            for sock, events in self._wanted(now).items():
                selector.register(sock, events)
            pipes = [pipe for connection in self._connections for pipe in connection.pipes]
            waits = [pipe.due_at - now for pipe in pipes if pipe.due_at is not None and pipe.due_at > now]
            nap_s = 0.0 if any(pipe.cut_due for pipe in pipes) else min([_LONGEST_NAP_S, *waits])
            ready = {key.fileobj for key, _ in selector.select(nap_s)}
        if self._woken in ready:
            self._obey()
        for connection in list(self._connections):
            for pipe in connection.pipes:
                if connection in self._connections:
                    self._move(connection, pipe, readable=pipe.source in ready)
        if self._listener in ready and not self._closing:
            self._accept()

    def _wanted(self, now: float) -> dict[socket.socket, int]:
        """What to wait for; a socket that wants nothing is left out, or its hang-up would keep the loop awake."""
        wanted: dict[socket.socket, int] = {}
        for connection in self._connections:
            for pipe in connection.pipes:
                if pipe.wants:
                    wanted[pipe.source] = wanted.get(pipe.source, 0) | selectors.EVENT_READ
                if pipe.due_at is not None and pipe.due_at <= now:
                    wanted[pipe.sink] = wanted.get(pipe.sink, 0) | selectors.EVENT_WRITE
        return wanted

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(READ_BYTES):
                pass
        while self._orders:
            what, done = self._orders.popleft()
            what()
            done.set()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it left while it waited
        number, self.accepted = self.accepted, self.accepted + 1
        try:
            server = socket.create_connection(self._server, timeout=_CONNECT_S)
        except OSError:
            self._faults.append(Fault(connection=number, what="no server", way="behind the proxy", at_byte=0))
            close_socket(client, reset=True)
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plan = Plan() if self._healed else self._plan(number)
        self._connections.append(ProxiedConnection(number, client, server, plan))

    def _move(self, connection: ProxiedConnection, pipe: Pipe, *, readable: bool) -> None:
        """Reads and sends for one direction, and ends the connection where that is due."""
        if readable and pipe.wants:
            self._read(connection, pipe)
        try:
            pipe.give(time.monotonic())
        except OSError:
            self._broken(connection, pipe.sink)
            return
        if pipe.cut_due:
            self._note(connection, pipe, "cut")
            self._end(connection, reset=connection.plan.reset)
        elif all(each.passed_end for each in connection.pipes):
            self._end(connection, reset=False)

    def _read(self, connection: ProxiedConnection, pipe: Pipe) -> None:
        had_vanished = pipe.vanished
        try:
            data = pipe.source.recv(pipe.room())
        except BlockingIOError:
            return
        except OSError:
            self._broken(connection, pipe.source)
            return
        if data and self._watch is not None:
            self._watch(connection.number, pipe is connection.pipes[0], data)
        pipe.take(data, time.monotonic())
        if pipe.vanished and not had_vanished:
            self._note(connection, pipe, "hole")

    def _broken(self, connection: ProxiedConnection, sock: socket.socket) -> None:
        """One end is gone: so is the other, unless what tells it so falls into a hole."""
        from_it, to_it = connection.reading_from(sock)
        if not from_it.in_hole:
            self._end(connection, reset=True)
            return
        if from_it.wants:
            from_it.take(b"", time.monotonic())
        to_it.abandon()

    def _note(self, connection: ProxiedConnection, pipe: Pipe, what: str) -> None:
        self._faults.append(Fault(connection=connection.number, what=what, way=pipe.name, at_byte=pipe.arrived))

    def _end(self, connection: ProxiedConnection, *, reset: bool) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            connection.close(reset=reset)
