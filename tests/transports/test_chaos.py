"""The chaos proxy: it does what a plan says and nothing else, and leaves nothing running."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import attrs
import pytest

from bets_protocol.testing._chaos_pipe import Pipe
from bets_protocol.testing.chaos import ChaosProxy, Fault, Plan, Way, drawn_plan
from bets_protocol.transports import parse_url

DEADLINE_S = 20.0
SILENCE_S = 0.1
MESSAGE = bytes(range(1, 101))


@attrs.frozen
class Wired:
    """A client and a server with a proxy between them."""

    proxy: ChaosProxy
    client: socket.socket
    server: socket.socket

    def ends(self, way: str) -> tuple[socket.socket, socket.socket]:
        """Who sends and who receives."""
        return (self.client, self.server) if way == "to_server" else (self.server, self.client)


@pytest.fixture
def wire() -> Iterator[Callable[[Plan], Wired]]:
    """Connects a client to a server through a proxy with the given plan."""
    with contextlib.ExitStack() as opened:

        def connected(plan: Plan) -> Wired:
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            proxy = opened.enter_context(ChaosProxy(listener.getsockname()[1], plan=lambda _number: plan))
            client = opened.enter_context(connect(proxy))
            listener.settimeout(DEADLINE_S)
            server = opened.enter_context(listener.accept()[0])
            server.settimeout(DEADLINE_S)
            return Wired(proxy, client, server)

        yield connected


def connect(proxy: ChaosProxy) -> socket.socket:
    """A client of the proxy."""
    return socket.create_connection(("127.0.0.1", parse_url(proxy.url).port or 0), timeout=DEADLINE_S)


def received(sock: socket.socket) -> bytes:
    """Everything until the end of the stream; a reset raises."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def received_until_broken(sock: socket.socket) -> tuple[bytes, bool]:
    """Everything until the end, and whether that was a reset."""
    found = b""
    try:
        while data := sock.recv(65536):
            found += data
    except ConnectionResetError:
        return found, True
    return found, False


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    sock.settimeout(SILENCE_S)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(DEADLINE_S)
    return False


def reset(sock: socket.socket) -> None:
    """Closes by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("way", [Way(), Way(slice_bytes=1), Way(slice_bytes=11, delay_s=0.01)])
def test_everything_arrives_in_order(wire: Callable[[Plan], Wired], way: Way) -> None:
    """Both directions and both ends of the stream pass, also sliced and late; no fault is written down."""
    wired = wire(Plan(to_server=way, to_client=way, close_delay_s=way.delay_s))
    for sender, receiver in (wired.ends("to_server"), wired.ends("to_client")):
        sender.sendall(MESSAGE * 300)
        sender.shutdown(socket.SHUT_WR)
        assert received(receiver) == MESSAGE * 300
    assert wired.proxy.faults == ()
    assert wired.proxy.accepted == 1


def test_slices_leave_one_by_one() -> None:
    """Each call passes one slice on; what is beyond the slices passes whole."""
    source, sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with source, sink:
        sink.setblocking(False)
        pipe = Pipe("to itself", source, source, Way(slice_bytes=3), 0.0)
        pipe.take(b"abcdefgh", 0.0)
        for _ in range(3):
            pipe.give(0.0)
        assert [sink.recv(99) for _ in range(3)] == [b"abc", b"def", b"gh"]


def test_delayed_bytes_take_their_time(wire: Callable[[Plan], Wired]) -> None:
    """Neither bytes nor the end of the stream come before their time."""
    wired = wire(Plan(to_server=Way(delay_s=0.05), close_delay_s=0.1))
    began = time.monotonic()
    wired.client.sendall(MESSAGE)
    wired.client.shutdown(socket.SHUT_WR)
    assert wired.server.recv(999) == MESSAGE
    assert time.monotonic() - began >= 0.05
    assert wired.server.recv(1) == b""
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("by_reset", [True, False])
@pytest.mark.parametrize("at_byte", [1, 60, 100])
@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_cut_lets_just_so_many_bytes_through(
    wire: Callable[[Plan], Wired], way: str, at_byte: int, by_reset: bool
) -> None:
    """The bytes before a cut arrive and none behind it; both ends learn of it in the manner that was asked for."""
    cut = Way(cut_at=at_byte)
    plan = Plan(to_server=cut, reset=by_reset) if way == "to_server" else Plan(to_client=cut, reset=by_reset)
    wired = wire(plan)
    sender, receiver = wired.ends(way)
    sender.sendall(MESSAGE)
    assert received_until_broken(receiver) == (MESSAGE[:at_byte], by_reset)
    # What was not read of a message turns an orderly end into a reset for its sender, as TCP has it.
    assert received_until_broken(sender)[0] == b""
    assert [(fault.what, fault.at_byte) for fault in wired.proxy.faults] == [("cut", at_byte)]


def test_cut_before_the_first_byte() -> None:
    """A connection may end before anything passes: perhaps while the client still connects."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ChaosProxy(listener.getsockname()[1], plan=lambda _number: Plan(to_client=Way(cut_at=0))) as proxy,
    ):
        with pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1)
        while not proxy.faults:
            time.sleep(0.001)
        assert proxy.faults == (Fault(connection=0, what="cut", way="to the client", at_byte=0),)


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
@pytest.mark.parametrize("late", [False, True])
def test_hole_swallows_the_end_too(
    wire: Callable[[Plan], Wired], late: bool, leave: Callable[[socket.socket], None]
) -> None:
    """Half open: the server hears no more and does not learn that the client left; once the network is good, it gets
    what came late, or a reset where bytes are lost."""
    wired = wire(Plan(to_server=Way(hole_at=10, late=late), to_client=Way(hole_at=0, late=late)))
    wired.client.sendall(MESSAGE)
    assert received_exactly(wired.server, 10) == MESSAGE[:10]
    assert is_silent(wired.server)
    while not wired.proxy.faults:  # a reset must not overtake the bytes before it
        time.sleep(0.001)
    leave(wired.client)
    wired.server.sendall(b"anybody there?")
    assert is_silent(wired.server)
    assert wired.proxy.faults[0] == Fault(connection=0, what="hole", way="to the server", at_byte=100)
    wired.proxy.stop_faults()
    data, was_reset = received_until_broken(wired.server)
    assert data == (MESSAGE[10:] if late else b"")
    assert was_reset or late


def received_exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < count:
        found += sock.recv(count - len(found))
    return found


def test_late_bytes_pass_in_both_directions(wire: Callable[[Plan], Wired]) -> None:
    """A connection that was only held up goes on as if nothing had been, in order."""
    wired = wire(Plan(to_server=Way(hole_at=3, late=True), to_client=Way(hole_at=5, late=True)))
    wired.client.sendall(MESSAGE)
    wired.server.sendall(MESSAGE)
    assert received_exactly(wired.server, 3) + received_exactly(wired.client, 5) == MESSAGE[:3] + MESSAGE[:5]
    assert is_silent(wired.server)
    assert is_silent(wired.client)
    wired.proxy.stop_faults()
    wired.client.sendall(b"more")
    wired.client.shutdown(socket.SHUT_WR)
    wired.server.shutdown(socket.SHUT_WR)
    assert received(wired.server) == MESSAGE[3:] + b"more"
    assert received(wired.client) == MESSAGE[5:]


def test_swallowed_answers_then_a_reset(wire: Callable[[Plan], Wired]) -> None:
    """A hole and a cut behind it: the client gets nothing of what the server said, and then a reset."""
    wired = wire(Plan(to_client=Way(hole_at=0, cut_at=18)))
    wired.client.sendall(b"question")
    assert received_exactly(wired.server, 8) == b"question"
    wired.server.sendall(b"a" * 18)
    assert received_until_broken(wired.client) == (b"", True)


def test_a_healed_network_is_good(wire: Callable[[Plan], Wired]) -> None:
    """A fault that has not struck when the faults stop never will."""
    wired = wire(Plan(to_server=Way(cut_at=50)))
    wired.proxy.stop_faults()
    wired.client.sendall(MESSAGE)
    wired.client.shutdown(socket.SHUT_WR)
    assert received(wired.server) == MESSAGE
    assert wired.proxy.faults == ()


def test_reset_passes_through(wire: Callable[[Plan], Wired]) -> None:
    """One end's reset is the other end's reset."""
    wired = wire(Plan())
    wired.server.sendall(b"hello")
    assert received_exactly(wired.client, 5) == b"hello"
    reset(wired.client)
    assert received_until_broken(wired.server) == (b"", True)


def test_nobody_behind_the_proxy() -> None:
    """A server that is down: the client is reset, and the log says so."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with ChaosProxy(port) as proxy:
        with pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1)
        assert str(proxy.faults[0]) == "connection 0: no server behind the proxy at byte 0"


def test_back_pressure_passes_through(wire: Callable[[Plan], Wired]) -> None:
    """A server that reads nothing stops its client: the proxy holds a bounded amount."""
    wired = wire(Plan())
    wired.client.settimeout(SILENCE_S)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 100 << 20:
            sent += wired.client.send(bytes(1 << 16))
    assert sent < 30 << 20
    wired.client.close()
    assert len(received(wired.server)) == sent


def test_a_seed_gives_the_same_plans_for_ever() -> None:
    """One seed, one network; every kind of fault is drawn now and then, and a harmless plan as well."""
    plans = [drawn_plan(seed, number) for seed in range(20) for number in range(20)]
    assert plans == [drawn_plan(seed, number) for seed in range(20) for number in range(20)]
    ways = [way for plan in plans for way in (plan.to_server, plan.to_client)]
    for kind in (
        any(way.cut_at is not None for way in ways),
        any(way.cut_at is not None and way.cut_at < 18 for way in ways),
        any(way.hole_at is not None and way.late for way in ways),
        any(way.hole_at is not None and not way.late for way in ways),
        any(way.slice_bytes == 1 for way in ways),
        any(way.delay_s > 0 for way in ways),
        any(plan.close_delay_s > 0 for plan in plans),
        {plan.reset for plan in plans} == {True, False},
        Plan() in plans,
    ):
        assert kind


def test_whoever_watches_sees_what_was_sent() -> None:
    """All bytes that either end sent are shown, those that get lost too."""
    seen: list[tuple[int, bool, bytes]] = []
    lossy = Plan(to_client=Way(hole_at=0))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ChaosProxy(
            listener.getsockname()[1], plan=lambda _number: lossy, watch=lambda *what: seen.append(what)
        ) as proxy,
        connect(proxy) as client,
    ):
        server, _ = listener.accept()
        with server:
            client.sendall(b"question")
            assert received_exactly(server, 8) == b"question"
            server.sendall(b"answer")
            server.shutdown(socket.SHUT_WR)
            while not proxy.faults:
                time.sleep(0.001)
    assert seen == [(0, True, b"question"), (0, False, b"answer")]


def test_closing_ends_everything(wire: Callable[[Plan], Wired]) -> None:
    """Both ends of what is open are reset, and nobody listens any more."""
    wired = wire(Plan(to_server=Way(hole_at=0, late=True)))
    wired.client.sendall(MESSAGE)
    wired.proxy.close()
    assert received_until_broken(wired.client) == (b"", True)
    assert received_until_broken(wired.server) == (b"", True)
    with pytest.raises(ConnectionRefusedError):
        connect(wired.proxy)
