"""Programs of others that both type checkers must accept: what they write and what types they are shown.

Nothing runs this file: `nox -s types` reads it. `assert_type` says what the checker must have inferred.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator
from typing import Any, assert_never, assert_type

import pytest
from hypothesis import strategies as st

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    BetsError,
    ClientConnection,
    DecodeError,
    OpenUpload,
    Probe,
    RejectCode,
    ServerConnection,
    TransportTimeout,
    UploadStatus,
    Winners,
    WinnersRequest,
    aio,
    batches,
    decode,
    encode,
)
from bets_protocol import client as clients
from bets_protocol.testing.chaos import ChaosProxy, Plan
from bets_protocol.testing.pair import ConnectionPair, Cut, at_places, at_random, byte_by_byte
from bets_protocol.testing.strategies import bets
from bets_protocol.testing.transports import TransportConformance
from bets_protocol.transports import (
    Listener,
    Stream,
    TlsFiles,
    TlsTransport,
    Transport,
    Url,
    connect,
    listen,
    parse_url,
    register_transport,
)


def whole_messages(bet: Bet, data: bytes, view: memoryview) -> None:
    """`decode` gives the class that it was asked for, from any bytes-like object."""
    assert_type(encode(bet, revision=5), bytes)
    assert_type(decode(Bet, data, revision=5), Bet)
    assert_type(decode(BetBatch, bytearray(data)).bets, tuple[Bet, ...])
    assert_type(decode(Winners, view).documents, tuple[str, ...])


def a_message_from_any_iterable(many: Iterable[Bet], documents: list[str]) -> tuple[BetBatch, Winners]:
    """Batches and lists of winners are made of whatever can be gone through."""
    return BetBatch(bets=many), Winners(documents=documents)


def a_client_without_sockets(many: Iterable[Bet], stream: Stream) -> RejectCode | None:
    """Every event of a client is one of six, and the checker knows when all are handled."""
    connection = ClientConnection(revision=9)
    stream.send_all(connection.send(OpenUpload(agency=1, draw=1, total=3, upload_id=bytes(16))))
    for batch in batches(many, revision=9):
        assert_type(batch, BetBatch)
        stream.send_all(connection.send(batch))
    while True:
        event = connection.next_event()
        match event:
            case Ack() | Probe():
                continue
            case UploadStatus():
                return assert_type(event.reason, RejectCode)
            case Winners():
                return None
            case _ if event is NEED_DATA:
                connection.receive_data(stream.receive() or b"")
            case _:
                assert event is CLOSED
                return None


def a_server_without_sockets(stream: Stream) -> Iterator[bytes]:
    """What a server is told has a class for each message, and the two signals are told apart by `is`."""
    connection = ServerConnection(revision=8)
    while (event := connection.next_event()) is not CLOSED:
        if event is NEED_DATA:
            connection.receive_data(stream.receive() or b"")
        elif isinstance(event, BetBatch):
            yield connection.send(Ack(count=len(event.bets)))
        elif isinstance(event, WinnersRequest):
            yield connection.send(Winners(documents=()))
        elif isinstance(event, Probe):
            yield connection.send(event)


def transports_by_url(files: TlsFiles) -> None:
    """A url goes to its transport; with one's own table where TLS needs files."""
    url = parse_url("tls://localhost:1")
    assert_type(url, Url)
    with listen("tcp://127.0.0.1:0") as listener, connect(listener.url) as stream:
        assert_type(listener, Listener)
        assert_type(stream, Stream)
        assert_type(listener.accept(), Stream | None)
        assert_type(stream.receive(), bytes | None)
    with connect(url, timeout_s=1.0, transports={"tls": TlsTransport(files)}) as stream:
        stream.send_all(memoryview(b"ping\n"))


class Carrier:
    """A transport of others: any class with the two methods."""

    def connect(self, url: Url, timeout_s: float) -> Stream:
        raise NotImplementedError

    def listen(self, url: Url, backlog: int) -> Listener:
        raise NotImplementedError


carrier: Transport = Carrier()
register_transport("carrier", carrier)


class TestCarrier(TransportConformance):
    """The suite of the transports, for one of others."""

    deadline_s = 5.0

    @pytest.fixture
    def listen_url(self) -> str:
        return "carrier://home"


def a_pair_for_tests(cuts: list[Cut]) -> None:
    """Both ends in one process, with the bytes cut in any way."""
    for cut in (*cuts, byte_by_byte, at_places([1, 5]), at_random(random.Random(1))):
        pair = ConnectionPair(revision=8, cut=cut)
        [event] = pair.client_says(Probe(line=b"ping\n"))
        assert isinstance(event, Probe)
        pair.server_says(event)


def made_up_bets_and_a_bad_line(server: socket.socket) -> st.SearchStrategy[Bet]:
    """Strategies are typed, and a proxy stands between any two programs."""
    port: Any = server.getsockname()[1]
    with ChaosProxy(port, seed=7, plan=lambda _: Plan()) as proxy:
        assert_type(proxy.url, str)
    return bets()


def one_base_for_all_errors(data: bytes) -> str:
    """All that is raised on purpose is a `BetsError`; the classes below say more."""
    try:
        decode(Ack, data, revision=8)
    except DecodeError as error:
        return str(error)
    except (TransportTimeout, TimeoutError):
        return "late"
    except BetsError as error:
        return str(assert_type(error, BetsError))
    return ""


def every_code(code: RejectCode) -> str:
    """The codes are an enum of numbers."""
    return f"{code.name} {code:d}"


def messages_are_told_apart(message: Ack | Winners) -> int:
    """A `match` over messages is exhaustive, by the fields too."""
    match message:
        case Ack(count=count):
            return count
        case Winners(documents=documents):
            return len(documents)
        case _:
            assert_never(message)


async def results_by_revision(url: str, bets: list[Bet]) -> None:
    """The type of a result says what the revision promises."""
    with clients.connect(url, agency=1) as client:
        assert_type(client.upload(bets), clients.UploadResult)
        assert_type(client.winners(timeout_s=1), tuple[str, ...])
    with clients.connect(url, agency=1, revision=8, retry_for_s=1.5) as older:
        assert_type(older.upload("agency-1.csv"), clients.AtLeastOnceResult)
    async with aio.connect(url, agency=1) as asynchronous:
        assert_type(await asynchronous.upload(bets), clients.UploadResult)
