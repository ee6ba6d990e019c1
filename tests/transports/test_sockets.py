"""The streams and listeners over sockets: how the system's errors come out, and what survives a broken connection."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator

import pytest

from bets_protocol import ConnectError, ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.testing._driving import promptly
from bets_protocol.transports import ConnectTimeout, OutOfDescriptors, Stream
from bets_protocol.transports.sockets import SocketListener, SocketStream, os_errors_as, transport_error

DEADLINE_S = 10.0


class FailingSocket(socket.socket):
    """A listening socket whose next `accept` fails as the system may make it fail."""

    failure: OSError | None = None

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return super().accept()


@pytest.fixture
def listening() -> Iterator[FailingSocket]:
    with FailingSocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@pytest.fixture
def tcp_pair() -> Iterator[tuple[SocketStream, SocketStream]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=DEADLINE_S)
        accepted, _ = server.accept()
    accepted.settimeout(DEADLINE_S)
    with SocketStream(client, "127.0.0.1") as here, SocketStream(accepted, "127.0.0.1") as there:
        yield here, there


def plain_stream(sock: socket.socket, _address: object) -> Stream:
    return SocketStream(sock, "somebody")


def send_often(stream: Stream, data: bytes) -> None:
    for _ in range(1000):
        stream.send_all(data)


def wait_readable(stream: Stream) -> None:
    assert select.select([stream], [], [], DEADLINE_S)[0] == [stream]


@pytest.mark.parametrize(
    ("kind", "error", "expected", "text"),
    [
        (ReadError, OSError(errno.ECONNRESET, "Connection reset by peer"), ReadError, "x: connection reset by peer"),
        (WriteError, BrokenPipeError(errno.EPIPE, "Broken pipe"), WriteError, "x: broken pipe"),
        (ReadError, TimeoutError("timed out"), TransportTimeout, "x: timed out"),
        (ConnectError, TimeoutError("timed out"), ConnectTimeout, "x: timed out"),
        (ReadError, TimeoutError(errno.ETIMEDOUT, "Connection timed out"), ReadError, "x: connection timed out"),
        (ConnectError, TimeoutError(errno.ETIMEDOUT, "Connection timed out"), ConnectError, "x: connection timed out"),
        (ConnectError, socket.gaierror(-2, "Name or service not known"), ConnectError, "x: name or service not known"),
        (ConnectError, OSError("AF_UNIX path too long"), ConnectError, "x: AF_UNIX path too long"),
        (ConnectError, OSError(), ConnectError, "x: system error"),
    ],
)
def test_a_system_error_gets_its_kind(
    kind: type[TransportError], error: OSError, expected: type[TransportError], text: str
) -> None:
    """A passed deadline is a timeout; a peer that stopped answering (ETIMEDOUT) is a broken connection."""
    made = transport_error(kind, "x", error)
    assert (type(made), str(made)) == (expected, text)


def test_transport_errors_pass_unchanged() -> None:
    """A `TransportTimeout` is an OSError too, and is not wrapped again."""
    with pytest.raises(TransportTimeout, match=r"^inner$"), os_errors_as(ConnectError, "outer"):
        raise TransportTimeout("inner")


def test_the_cause_stays_behind_the_error(tcp_pair: tuple[SocketStream, SocketStream]) -> None:
    """The system's error is the cause, for whoever needs its number."""
    here, there = tcp_pair
    here.send_all(b"unread")
    wait_readable(there)
    there.close()
    wait_readable(here)
    with pytest.raises(ReadError, match=r"^cannot receive from 127\.0\.0\.1: connection reset by peer$") as caught:
        here.receive()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("by_sending", [False, True])
def test_what_came_before_a_reset_is_received(tcp_pair: tuple[SocketStream, SocketStream], by_sending: bool) -> None:
    """Last words first, then the error, each time; whether receiving or sending noticed the reset."""
    here, there = tcp_pair
    here.send_all(b"unread")
    wait_readable(there)
    there.send_all(b"last words")
    wait_readable(here)
    there.close()
    if by_sending:
        with pytest.raises(WriteError):
            here.send(b"x")
    assert here.receive() == b"last words"
    for _ in range(2):
        with pytest.raises(ReadError):
            here.receive()


def test_an_orderly_end_stays_one_when_sending_fails(tcp_pair: tuple[SocketStream, SocketStream]) -> None:
    """A peer that said goodbye and left is no broken connection, though it takes no more bytes."""
    here, there = tcp_pair
    there.send_all(b"goodbye")
    there.close()
    with pytest.raises(WriteError):
        send_often(here, b"one more thing")
    assert here.receive() == b"goodbye"
    assert here.receive() == b""
    assert here.receive() == b""


def test_sending_nothing_does_not_wait_for_room(tcp_pair: tuple[SocketStream, SocketStream]) -> None:
    """Not even where every byte would have to."""
    here, _ = tcp_pair
    here.set_timeout(0)
    while here.send(bytes(65_536)):
        pass
    here.set_timeout(0.05)
    assert here.send(b"") == 0
    here.send_all(b"")


def test_a_closed_stream_says_that_it_is_closed(tcp_pair: tuple[SocketStream, SocketStream]) -> None:
    """And not what the system thinks of descriptor -1."""
    here, _ = tcp_pair
    here.set_timeout(0)
    here.close()
    with pytest.raises(ReadError, match=r"^cannot receive from 127\.0\.0\.1: the stream is closed$"):
        here.receive()
    with pytest.raises(WriteError, match=r"^cannot send to 127\.0\.0\.1: the stream is closed$"):
        here.send(b"x")
    with pytest.raises(WriteError, match=r"^cannot send to 127\.0\.0\.1: the stream is closed$"):
        here.send_all(b"x")


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH, errno.EAGAIN])
def test_a_connection_that_went_away_is_nobody(listening: FailingSocket, number: int) -> None:
    """`accept` says None and takes the next one."""
    listener = SocketListener(listening, "tcp://x:1", plain_stream)
    with socket.create_connection(listening.getsockname()):
        wait_for_somebody(listener)
        listening.failure = OSError(number, "made up")
        assert listener.accept() is None
        with accepted(listener) as stream:
            assert promptly(stream.receive, DEADLINE_S, "receive of an accepted stream") is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_an_exhausted_system_is_told_apart(listening: FailingSocket, number: int) -> None:
    """`accept` raises OutOfDescriptors and goes on when there is room."""
    listener = SocketListener(listening, "tcp://x:1", plain_stream)
    with socket.create_connection(listening.getsockname()):
        wait_for_somebody(listener)
        listening.failure = OSError(number, "made up")
        with pytest.raises(OutOfDescriptors, match=r"^cannot accept on tcp://x:1: made up$"):
            listener.accept()
        accepted(listener).close()


def test_a_listener_that_cannot_go_on_says_so(listening: FailingSocket) -> None:
    """Not as one of the errors that pass."""
    listener = SocketListener(listening, "tcp://x:1", plain_stream)
    listening.shutdown(socket.SHUT_RDWR)
    with pytest.raises(TransportError, match=r"^cannot accept on tcp://x:1: invalid argument$") as caught:
        listener.accept()
    assert type(caught.value) is TransportError


def test_a_closed_listener_says_that_it_is_closed(listening: FailingSocket) -> None:
    """And not what the system thinks of descriptor -1."""
    listener = SocketListener(listening, "tcp://x:1", plain_stream)
    listener.close()
    with pytest.raises(TransportError, match=r"^cannot accept on tcp://x:1: the listener is closed$"):
        listener.accept()


def test_a_peer_that_left_while_being_accepted_is_nobody(listening: FailingSocket) -> None:
    """Its socket is closed."""
    taken = []

    def too_late(sock: socket.socket, _address: object) -> Stream:
        taken.append(sock)
        raise OSError(errno.EINVAL, "made up")

    listener = SocketListener(listening, "tcp://x:1", too_late)
    with socket.create_connection(listening.getsockname()):
        wait_for_somebody(listener)
        assert listener.accept() is None
    assert [sock.fileno() for sock in taken] == [-1]


def test_an_interrupted_accept_leaves_nothing_open(listening: FailingSocket) -> None:
    """Whatever a signal handler raises passes, and the connection that was being accepted is closed."""
    taken = []

    def interrupted(sock: socket.socket, _address: object) -> Stream:
        taken.append(sock)
        raise KeyboardInterrupt

    listener = SocketListener(listening, "tcp://x:1", interrupted)
    with socket.create_connection(listening.getsockname()):
        wait_for_somebody(listener)
        with pytest.raises(KeyboardInterrupt):
            listener.accept()
    assert [sock.fileno() for sock in taken] == [-1]


def wait_for_somebody(listener: SocketListener) -> None:
    assert select.select([listener], [], [], DEADLINE_S)[0] == [listener]


def accepted(listener: SocketListener) -> Stream:
    stream = listener.accept()
    assert stream is not None
    return stream
