"""TCP: names and addresses, one deadline over all of them, and the options of its sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pytest

from bets_protocol import ConfigError, ConnectError
from bets_protocol.transports import ConnectTimeout, Listener, Stream, connect, listen, parse_url
from bets_protocol.transports.tcp import SocketAddress, TcpTransport, _as_stream, refuse_self_connection

DEADLINE_S = 10.0
FULL_S = 0.25
# Linux 6.3; Python does not know its name.
IP_LOCAL_PORT_RANGE = 51


def address_of(listener: Listener) -> SocketAddress:
    url = parse_url(listener.url)
    return socket.AF_INET, (url.host, url.port)


def dead_address() -> SocketAddress:
    """An address where nobody listens."""
    with listen("127.0.0.1:0") as listener:
        return address_of(listener)


@pytest.fixture
def silent() -> Iterator[SocketAddress]:
    """An address that answers nothing, as behind a firewall: the queue of its listener is full."""
    with listen("127.0.0.1:0", backlog=1) as listener, contextlib.ExitStack() as waiting:
        with contextlib.suppress(ConnectTimeout):
            for _ in range(10):
                waiting.enter_context(connect(listener.url, timeout_s=FULL_S))
        yield address_of(listener)


def connect_to(*addresses: SocketAddress, timeout_s: float = DEADLINE_S) -> Stream:
    """Connects to a name that has these addresses."""

    def resolver(host: str, port: int) -> Sequence[SocketAddress]:
        assert (host, port) == ("many.example", 7)
        return addresses

    return TcpTransport(resolver=resolver).connect(parse_url("many.example:7"), timeout_s)


def option(stream: Stream, level: int, name: int) -> int:
    with socket.socket(fileno=socket.dup(stream.fileno())) as twin:
        return twin.getsockopt(level, name)


def accept(listener: Listener) -> Stream:
    deadline = time.monotonic() + DEADLINE_S
    while (stream := listener.accept()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return stream


def test_the_next_address_is_tried() -> None:
    """A dead first address does not matter when the second lives."""
    with listen("127.0.0.1:0") as listener, connect_to(dead_address(), address_of(listener)) as client:
        assert client.peer == "127.0.0.1"


def test_a_silent_address_leaves_time_for_the_next(silent: SocketAddress) -> None:
    """It gets its share of the deadline, not all of it: the last one is reached before that has passed."""
    with listen("127.0.0.1:0") as listener:
        deadline = time.monotonic() + 1.5
        connect_to(silent, silent, address_of(listener), timeout_s=1.5).close()
        assert time.monotonic() < deadline


def test_all_addresses_share_one_deadline(silent: SocketAddress) -> None:
    """Eight silent addresses take one deadline together, not one each."""
    start = time.monotonic()
    with pytest.raises(ConnectTimeout, match=r"cannot connect to tcp://many.example:7: 127.0.0.1: timed out, 127"):
        connect_to(*[silent] * 8, timeout_s=1.0)
    assert time.monotonic() - start < 4


def test_a_deadline_that_passed_still_tries_each_address_once() -> None:
    """However short it is, an address that answers at once is reached."""
    with listen("127.0.0.1:0") as listener:
        connect_to(dead_address(), dead_address(), address_of(listener), timeout_s=1e-9).close()


def test_every_failure_is_named() -> None:
    """With several addresses the error says what each answered."""
    with pytest.raises(ConnectError) as caught:
        connect_to(dead_address(), dead_address())
    assert type(caught.value) is ConnectError
    assert str(caught.value) == (
        "cannot connect to tcp://many.example:7: 127.0.0.1: connection refused, 127.0.0.1: connection refused"
    )


def test_a_name_that_does_not_exist() -> None:
    """The resolver's error becomes a ConnectError, for clients and for listeners."""

    def resolver(host: str, _port: int) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, f"Name {host} not known")

    transport = TcpTransport(resolver=resolver)
    with pytest.raises(ConnectError, match=r"^cannot connect to tcp://nobody:7: name nobody not known$"):
        transport.connect(parse_url("nobody:7"), DEADLINE_S)
    with pytest.raises(ConnectError, match=r"^cannot listen on tcp://nobody:7: name nobody not known$"):
        transport.listen(parse_url("nobody:7"), 1)


def test_a_name_without_an_address() -> None:
    """An empty answer is a ConnectError."""
    with pytest.raises(ConnectError, match=r"^cannot connect to tcp://many.example:7: 'many.example' has no address$"):
        connect_to()


def test_a_resolver_that_never_answers() -> None:
    """The deadline covers it."""
    answer = threading.Event()

    def resolver(_host: str, _port: int) -> Sequence[SocketAddress]:
        answer.wait(DEADLINE_S)
        return []

    try:
        with pytest.raises(ConnectTimeout, match="timed out looking up 'slow'"):
            TcpTransport(resolver=resolver).connect(parse_url("slow:7"), 0.05)
    finally:
        answer.set()


def test_a_bug_in_a_resolver_stays_visible() -> None:
    """What is no error of the system is raised as it is, on the thread that asked."""

    def resolver(_host: str, _port: int) -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TcpTransport(resolver=resolver).connect(parse_url("x:7"), DEADLINE_S)


def test_a_name_that_no_resolver_takes() -> None:
    """The system's resolver refuses labels of more than 63 bytes in a way of its own; it is a ConnectError."""
    from_parts = parse_url("carrier://" + "a" * 64 + ":7")
    with pytest.raises(ConnectError, match="is no host name"):
        TcpTransport().connect(from_parts, DEADLINE_S)


def test_an_address_never_goes_to_the_resolver() -> None:
    """It is used as it is."""

    def resolver(_host: str, _port: int) -> NoReturn:
        raise AssertionError

    with TcpTransport(resolver=resolver).listen(parse_url("127.0.0.1:0"), 1) as listener:
        TcpTransport(resolver=resolver).connect(parse_url(listener.url), DEADLINE_S).close()


def test_an_unknown_zone_is_an_unreachable_address() -> None:
    """An IPv6 zone that names no interface here is a ConnectError."""
    with pytest.raises(ConnectError, match=r"cannot connect to tcp://\[fe80::1%nowhere\]:7: "):
        connect("tcp://[fe80::1%nowhere]:7")


def test_localhost_finds_an_ipv4_listener() -> None:
    """Whichever of its addresses the name gives first."""
    with listen("127.0.0.1:0") as listener:
        port = parse_url(listener.url).port
        connect(f"localhost:{port}").close()


def test_a_listener_with_a_name_prefers_ipv4() -> None:
    """A peer that knows nothing but 127.0.0.1 must find it."""

    def resolver(_host: str, port: int) -> Sequence[SocketAddress]:
        return [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]

    with TcpTransport(resolver=resolver).listen(parse_url("both.example:0"), 1) as listener:
        assert listener.url.startswith("tcp://127.0.0.1:")


def test_port_0_becomes_a_real_one() -> None:
    """`url` has the port that was bound, and it differs between listeners."""
    with listen("127.0.0.1:0") as one, listen("127.0.0.1:0") as two:
        ports = [parse_url(listener.url).port for listener in (one, two)]
        assert 0 not in ports
        assert ports[0] != ports[1]


def test_port_0_cannot_be_connected_to() -> None:
    """It is a mistake of the caller, not of the network."""
    with pytest.raises(ConfigError, match="port 0 is for listening"):
        connect("127.0.0.1:0")


def both_families(tries: int = 20) -> tuple[Listener, Listener]:
    """Listeners for IPv6 and IPv4 at one port: another port where somebody else uses that one in IPv4."""
    six = listen("tcp://[::]:0")
    try:
        return six, listen(f"tcp://0.0.0.0:{parse_url(six.url).port}")
    except ConnectError:
        six.close()
        if tries == 1:
            raise
        return both_families(tries - 1)


def test_an_ipv6_listener_leaves_ipv4_alone() -> None:
    """Both families can be listened at on one port, and an IPv4 peer shows as one."""
    try:
        listen("tcp://[::]:0").close()
    except ConnectError as error:
        pytest.skip(f"no IPv6 here: {error}")
    six, four = both_families()
    with six, four:
        assert six.url.startswith("tcp://[::]:")
        port = parse_url(six.url).port
        with (
            connect(f"127.0.0.1:{port}"),
            accept(four) as served_by_four,
            connect(f"[::1]:{port}"),
            accept(six) as served_by_six,
        ):
            assert served_by_four.peer == "127.0.0.1"
            assert served_by_six.peer == "::1"


def test_both_ends_send_at_once_and_notice_a_vanished_peer() -> None:
    """TCP_NODELAY, keepalive after 30 s, every 10 s, 3 times; 60 s for bytes that nobody acknowledges."""
    with listen("127.0.0.1:0") as listener, connect(listener.url) as client, accept(listener) as server:
        for stream in (client, server):
            assert option(stream, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert option(stream, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if sys.platform == "linux":
                assert option(stream, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
                assert option(stream, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
                assert option(stream, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
                assert option(stream, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_options_that_a_system_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are set, and both ends connect."""
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    with listen("127.0.0.1:0") as listener, connect(listener.url, timeout_s=DEADLINE_S) as client:
        assert option(client, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3


def test_a_backlog_is_passed_on() -> None:
    """So many connections wait without being accepted (the system may allow a few more)."""
    with listen("127.0.0.1:0", backlog=40) as listener, contextlib.ExitStack() as waiting:
        for _ in range(40):
            waiting.enter_context(connect(listener.url, timeout_s=DEADLINE_S))


def test_a_peer_is_named_without_its_zone() -> None:
    """`fe80::1%eth0` is fe80::1, reached through an interface of ours."""
    with socket.socket() as sock:
        assert _as_stream(sock, ("fe80::1%eth0", 7, 0, 2)).peer == "fe80::1"


def test_a_socket_joined_to_itself_is_recognised() -> None:
    """TCP lets a socket be its own peer."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        try:
            sock.connect(sock.getsockname())
        except OSError as error:
            pytest.skip(f"not on this system: {error}")
        with pytest.raises(ConnectionRefusedError):
            refuse_self_connection(sock)


class OnePortSocket(socket.socket):
    """A socket whose range of local ports is the one port that it connects to."""

    def connect(self, address: Any) -> None:
        port = address[1]
        self.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", port << 16 | port))
        super().connect(address)


def test_a_dead_local_port_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the system gives the client that very port, as it does sooner or later."""
    with OnePortSocket() as sock:
        try:
            sock.connect(dead_address()[1])
        except OSError as error:
            pytest.skip(f"this system cannot be told which local port to take: {error}")
        assert sock.getsockname() == sock.getpeername()
    _, (host, port) = dead_address()
    monkeypatch.setattr(socket, "socket", OnePortSocket)
    with pytest.raises(ConnectError, match="the port led back to itself"):
        connect(f"tcp://{host}:{port}")
