"""The library's client, blocking and for asyncio: the same scenarios, and the same bytes on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest

import bets_protocol.aio
from bets_protocol import (
    BadRow,
    Bet,
    BetsRefused,
    ClientClosed,
    ConfigError,
    GaveUp,
    InputError,
    LocalProtocolError,
    NotDrawn,
    RejectCode,
    SourceChanged,
    UploadRefused,
    decode_bets,
    encoded,
    transports,
)
from bets_protocol.client import AtLeastOnceResult, UploadResult, connect
from bets_protocol.client.bet_cache import CacheBudget
from bets_protocol.client.events import ConnectionLost, Event, UploadOpened
from bets_protocol.codec import Codec
from bets_protocol.transports import Stream
from tests.certificates import Authority
from tests.client.scripted_server import DEADLINE_S, Central, Peer, ScriptedServer, silent, unused_port
from tests.client.uploading import Stored
from tests.client.wire import BETS

THE_BETS = decode_bets(b"".join(BETS))
DOCUMENTS = ["30000001", "30000007"]


class Driven(Protocol):
    """What both clients have in common, as this module calls them."""

    def upload(self, source: Any, *, label: str = "") -> Any:
        """Send all bets of `source`."""

    def winners(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Wait for the draw."""

    def finish(self) -> None:
        """Seal the agency."""

    def close(self) -> None:
        """Close it."""


class OnAsyncio:
    """The client for asyncio, each call run to its end by a loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client = bets_protocol.aio.connect(url, **options)
        self._runner = asyncio.Runner()

    def upload(self, source: Any, *, label: str = "") -> Any:
        return self._runner.run(self.client.upload(source, label=label))

    def winners(self, timeout_s: float | None = None) -> tuple[str, ...]:
        return self._runner.run(self.client.winners(timeout_s))

    def finish(self) -> None:
        self._runner.run(self.client.finish())

    def close(self) -> None:
        self.client.close()
        self._runner.close()


Connect = Callable[..., Driven]


@pytest.fixture(params=["blocking", "asyncio"])
def connected(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of agency 1, which are closed at the end; they send batches of two bets."""
    made: list[Driven] = []

    def make(server: ScriptedServer | str, **options: Any) -> Driven:
        url = server if isinstance(server, str) else server.url
        options = {"agency": 1, "batch_max": 2, "retry_for_s": 20.0} | options
        client: Driven = connect(url, **options) if request.param == "blocking" else OnAsyncio(url, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def left_early(script: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """`script` for clients that leave with answers on their way; it serves one connection after the other."""
    turn = threading.Lock()

    def run(peer: Peer) -> None:
        with turn, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            script(peer)

    return run


def test_three_lines_store_a_file_and_give_the_winners(connected: Connect, file: Path) -> None:
    """The bets arrive in order and once, the result says so, and the winners are those of the agency."""
    central = Central(1, {1: DOCUMENTS})
    with ScriptedServer(central) as server:
        client = connected(server)
        result = client.upload(file)
        assert client.winners() == tuple(DOCUMENTS)
        assert server.accepted == 1
    (upload_id,) = central.uploads
    assert isinstance(result, UploadResult)
    assert (result.stored, result.already_stored, result.sent_now, result.upload_id) == (20, 0, 20, upload_id)
    assert central.uploads[upload_id] == BETS


@pytest.mark.parametrize("kind", ["path", "text", "binary file", "in memory", "list"])
def test_every_kind_of_source_is_the_same_bets(connected: Connect, file: Path, kind: str) -> None:
    """A file is the same upload however it is named; a file that the caller opened stays open."""
    opened = file.open("rb")
    sources = {
        "path": file,
        "text": str(file),
        "binary file": opened,
        "in memory": io.BytesIO(file.read_bytes()),
        "list": THE_BETS,
    }
    central = Central()
    with ScriptedServer(central) as server:
        connected(server).upload(sources[kind])
        again = connected(server).upload(THE_BETS if kind == "list" else file)
    assert [*central.uploads.values()] == [BETS]
    assert (again.already_stored, again.sent_now) == (20, 0)
    assert opened.read(3) in {b"Ana", b""}
    opened.close()


def test_a_label_makes_another_upload(connected: Connect, file: Path) -> None:
    """The same file is meant a second time."""
    central = Central()
    with ScriptedServer(central) as server:
        client = connected(server)
        first, second = client.upload(file), client.upload(file, label="again")
    assert first.upload_id != second.upload_id
    assert [*central.uploads.values()] == [BETS, BETS]


@pytest.mark.parametrize("source", ["file", "list"])
def test_a_lost_connection_is_made_again_and_no_bet_is_stored_twice(
    connected: Connect, file: Path, source: str
) -> None:
    """The upload goes on where the server has it, and the caller is told."""
    has = Stored()
    events: list[Event] = []

    def breaks(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 3, answers=2)
        peer.reset()

    with ScriptedServer(breaks, has.rest) as server:
        client = connected(server, window=4, on_event=events.append)
        result = client.upload(file if source == "file" else THE_BETS)
        client.close()
        assert server.accepted == 2
    assert has.bets == BETS
    assert (result.stored, result.already_stored) == (20, 0)
    assert [type(event) for event in events].count(ConnectionLost) == 1
    assert [event.stored for event in events if isinstance(event, UploadOpened)] == [0, 6]


def test_nothing_is_sent_of_a_file_with_a_bad_row(connected: Connect, file: Path) -> None:
    """The error says which row, and no connection was made."""
    file.write_text(file.read_text() + "Ana,Paz,3,1999-03-17,1\n")
    with ScriptedServer(Central()) as server:
        with pytest.raises(BadRow, match=r"agency-1.csv:21: document: "):
            connected(server).upload(file)
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("bets", "error", "text"),
    [
        ([], InputError, "the bets: there are no bets"),
        ([THE_BETS[0], "a bet"], InputError, r"the bets: bets\[1\]: expected a Bet, not str"),
        (
            [THE_BETS[0], attrs.evolve(THE_BETS[1], agency=2)],
            InputError,
            r"the bets: bets\[1\].agency: expected 1, not 2",
        ),
        (iter(THE_BETS), TypeError, "not an iterator"),
    ],
)
def test_bets_that_cannot_be_sent_are_refused_with_their_place(
    connected: Connect, bets: Any, error: type[Exception], text: str
) -> None:
    """Before a connection is made."""
    with unused_port() as port, pytest.raises(error, match=text):
        connected(f"tcp://127.0.0.1:{port}").upload(bets)


def test_bets_that_change_while_they_are_sent_are_no_complete_upload(
    connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch is not sent, so the upload stays unfinished."""
    monkeypatch.setattr("bets_protocol.client.agency.CacheBudget", lambda: CacheBudget(room=0))
    bets = list(THE_BETS)
    central = Central()

    def changes(peer: Peer) -> None:
        bets[-1] = bets[0]
        central(peer)

    with ScriptedServer(left_early(changes)) as server, pytest.raises(SourceChanged, match="the bets have changed"):
        connected(server).upload(bets)
    assert len(central.bets) < 20


def test_a_refusal_has_its_code(connected: Connect, file: Path) -> None:
    """And what the server has stored; the state of the upload is a note."""

    def refuses(peer: Peer) -> None:
        peer.open_upload()
        peer.status(int(RejectCode.SEALED), 4)
        assert peer.at_end()

    with ScriptedServer(refuses) as server, pytest.raises(UploadRefused) as caught:
        connected(server).upload(file)
    assert (caught.value.code, caught.value.stored) == (RejectCode.SEALED, 4)
    assert "the server says that 4 of the 20 bets are stored" in caught.value.__notes__[0]


def test_it_gives_up_at_the_deadline(connected: Connect, file: Path) -> None:
    """Nobody is there; the text says how long it was tried."""
    with unused_port() as port, pytest.raises(GaveUp, match=r"for 0.3 s \(retry_for_s\): "):
        connected(f"tcp://127.0.0.1:{port}", retry_for_s=0.3).upload(file)


def test_winners_may_be_asked_for_again_after_the_deadline(connected: Connect, file: Path) -> None:
    """The first call ends with NotDrawn, and the second waits on the same connection."""
    has = Stored()
    drawn = threading.Event()

    def waits(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 10)
        assert peer.winners_request() == 1
        peer.stored(has.bets)
        assert drawn.wait(DEADLINE_S)
        peer.stored(has.bets)
        peer.status(16, 20, _crc(has.bets))
        peer.winners("30000001")
        assert peer.at_end()

    with ScriptedServer(waits) as server:
        client = connected(server)
        client.upload(file)
        client.finish()
        with pytest.raises(NotDrawn, match=r"agency 1 has waited for 0\.2 s"):
            client.winners(timeout_s=0.2)
        drawn.set()
        assert client.winners(timeout_s=DEADLINE_S) == ("30000001",)
        assert server.accepted == 1


def test_winners_without_an_upload_are_asked_for_on_revision_8(connected: Connect) -> None:
    """There is no upload that the question could belong to."""
    central = Central(1, {1: DOCUMENTS})
    with ScriptedServer(central) as server:
        assert connected(server).winners() == tuple(DOCUMENTS)
    assert (central.asked, central.uploads) == ([1], {})


def test_only_an_agency_that_has_uploaded_can_be_finished(connected: Connect) -> None:
    """Else the server could not answer that it is sealed."""
    with unused_port() as port, pytest.raises(LocalProtocolError, match="has uploaded on revision 9"):
        connected(f"tcp://127.0.0.1:{port}").finish()


@pytest.mark.parametrize("revision", [7, 8])
def test_older_revisions_say_that_they_are_at_least_once(connected: Connect, file: Path, revision: int) -> None:
    """Their result has another type, which has no word for what was stored before."""
    central = Central(1, {1: DOCUMENTS})
    with ScriptedServer(central) as server:
        client = connected(server, revision=revision)
        result = client.upload(file)
        assert client.winners() == tuple(DOCUMENTS)
    assert result == AtLeastOnceResult(stored=20, sent_twice=0)
    assert central.bets == BETS


def test_a_refusal_on_an_older_revision_names_the_rows(connected: Connect, file: Path) -> None:
    """Ack 0 has no code."""

    def refuses(peer: Peer) -> None:
        peer.batch()
        peer.send(b"\0")
        peer.at_end()

    with ScriptedServer(refuses) as server, pytest.raises(BetsRefused) as caught:
        connected(server, revision=8, window=1).upload(file)
    assert "2 refused" in caught.value.__notes__[0]
    assert "agency-1.csv:1-2" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"agency": 0}, "agency: expected 1 to 255, not 0"),
        ({"draw": -1}, "draw: expected 0 to 4294967295, not -1"),
        ({"batch_max": 256}, "batch_max: expected 1 to 255, not 256"),
        ({"revision": 4}, "revision: expected one of 5, 6, 7, 8, 9, not 4"),
        ({"window": 0}, "window: expected 1 to 1024 batches, not 0"),
        ({"retry_for_s": float("nan")}, "retry_for_s: expected 0 or more seconds, not nan"),
        ({"idle_timeout_s": 0.0}, "idle_timeout_s: expected more than 0 seconds, not 0.0"),
        ({"tls_ca": "ca.pem"}, "the connection would not be encrypted"),
    ],
)
def test_a_wrong_argument_is_named(connected: Connect, arguments: dict[str, Any], text: str) -> None:
    """When the client is made, before anything is sent."""
    with pytest.raises(ConfigError, match=text):
        connected("tcp://127.0.0.1:1", **arguments)


def test_a_label_that_is_too_long_is_refused(connected: Connect, file: Path) -> None:
    """Its length is one byte of what the upload's id is made from."""
    with pytest.raises(ConfigError, match="label: expected at most 255 bytes of UTF-8, not 256"):
        connected("tcp://127.0.0.1:1").upload(file, label="é" * 128)


def test_tls_is_set_by_the_files(connected: Connect, file: Path, authority: Authority) -> None:
    """The same three files as on the command line."""
    own, agency = authority.server(), authority.agency(1)
    assert own.cert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    context.load_verify_locations(own.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with ScriptedServer(Central(), tls=context) as server:
        client = connected(server, tls_cert=agency.cert, tls_key=agency.key, tls_ca=agency.ca)
        assert client.upload(file).stored == 20
        client.close()


def test_a_wrong_window_of_one_upload_is_refused(file: Path) -> None:
    """With 0 nothing would ever be sent."""
    with (
        connect("tcp://127.0.0.1:1", agency=1) as client,
        pytest.raises(ConfigError, match="window: expected 1 to 1024"),
    ):
        client.upload(file, window=0)


@pytest.mark.parametrize("source", ["file", "list"])
def test_a_bet_is_encoded_once_on_its_way(
    connected: Connect, file: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """It is checked and encoded; what is sent and what the CRC-32 is taken over are those bytes."""
    counted: list[Bet] = []

    def counts(codec: Codec) -> Codec:
        def encode(bet: Bet) -> bytes:
            counted.append(bet)
            return codec.encode(bet)

        return attrs.evolve(codec, encode=encode)

    monkeypatch.setattr(encoded, "_BET_FRAME", counts(encoded._BET_FRAME))
    with ScriptedServer(Central()) as server:
        connected(server).upload(file if source == "file" else THE_BETS)
    times = 1 if source == "file" else 2  # a list is named by its encoded bets before they are kept
    assert len(counted) == 20 * times


def test_both_clients_say_the_same_bytes(file: Path) -> None:
    """With lost connections and a busy server on the way: no rule is in a driver."""

    def said(make: Callable[..., Driven]) -> list[bytes]:
        has = Stored()
        heard: list[bytes] = []

        def recorded(script: Callable[[Peer], None]) -> Callable[[Peer], None]:
            def run(peer: Peer) -> None:
                exactly = peer.exactly

                def record(size: int) -> bytes:
                    heard.append(exactly(size))
                    return heard[-1]

                peer.exactly = record  # type: ignore[method-assign]
                script(peer)

            return run

        def breaks(peer: Peer) -> None:
            has.open(peer)
            has.take(peer, 3, answers=2)
            peer.reset()

        def is_busy(peer: Peer) -> None:
            peer.open_upload()
            peer.status(int(RejectCode.BUSY), 6)
            assert peer.at_end()

        def finishes(peer: Peer) -> None:
            has.open(peer)
            has.take(peer, 7)
            assert peer.winners_request() == 1
            peer.stored(has.bets)
            peer.status(int(RejectCode.INCOMPLETE), 20, _crc(has.bets))
            assert peer.winners_request() == 1
            peer.status(int(RejectCode.DRAWN), 20, _crc(has.bets))
            peer.winners("30000001")
            assert peer.at_end()

        with ScriptedServer(*map(recorded, (breaks, is_busy, finishes))) as server:
            client = make(server.url, agency=1, batch_max=2, window=3, retry_for_s=DEADLINE_S)
            client.upload(file)
            assert client.winners() == ("30000001",)
            client.close()
        return [b"".join(heard)]

    assert said(connect) == said(OnAsyncio)


def test_a_client_that_is_closed_does_nothing_more(connected: Connect, file: Path) -> None:
    """Closing it again has no effect."""
    client = connected("tcp://127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.upload(file)


def test_another_thread_ends_a_wait(file: Path) -> None:
    """Closing it wakes the thread that works, which closes the connection; nothing stays open."""
    has = Stored()
    asked = threading.Event()

    def waits(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 10)
        assert peer.winners_request() == 1
        peer.stored(has.bets)
        asked.set()
        assert peer.at_end()

    before = descriptors()
    with ScriptedServer(waits) as server:
        client = connect(server.url, agency=1, batch_max=2)
        failed: list[BaseException] = []

        def works() -> None:
            try:
                client.upload(file)
                client.winners()
            except ClientClosed as error:
                failed.append(error)

        thread = threading.Thread(target=works)
        thread.start()
        assert asked.wait(DEADLINE_S)
        with pytest.raises(RuntimeError, match="another thread"):
            client.finish()
        client.close()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    assert len(failed) == 1
    assert descriptors() == before


@pytest.mark.parametrize("number", range(1, 9))
def test_an_asyncio_upload_can_be_cancelled_anywhere(file: Path, number: int) -> None:
    """After any of its events: no task and no descriptor is left, and the next upload goes on where it stopped."""
    central, ended = Central(), threading.Event()

    def serves(peer: Peer) -> None:
        try:
            central(peer)
        finally:
            ended.set()

    before = descriptors()

    async def cancelled(url: str) -> int:
        events: list[Event] = []
        task: asyncio.Task[UploadResult] | None = None

        def happened(event: Event) -> None:
            events.append(event)
            if len(events) == number and task is not None:
                task.cancel()

        async with bets_protocol.aio.connect(url, agency=1, batch_max=2, window=1, on_event=happened) as client:
            task = asyncio.create_task(client.upload(file))
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(ended.wait, DEADLINE_S), "the connection is closed before the client is"
        assert [other for other in asyncio.all_tasks() if other is not asyncio.current_task()] == []
        async with bets_protocol.aio.connect(url, agency=1, batch_max=2) as client:
            return (await client.upload(file)).stored

    with ScriptedServer(left_early(serves)) as server:
        assert asyncio.run(cancelled(server.url)) == 20
    assert [*central.uploads.values()] == [BETS]
    assert descriptors() == before


def test_an_asyncio_client_can_be_cancelled_while_it_connects(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that a thread is still making is closed when it is there."""
    begun, go_on = threading.Event(), threading.Event()
    before = descriptors()
    real = transports.connect

    def slow(*arguments: Any, **options: Any) -> Stream:
        stream = real(*arguments, **options)
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return stream

    monkeypatch.setattr(transports, "connect", slow)

    async def cancelled(url: str) -> None:
        async with bets_protocol.aio.connect(url, agency=1) as client:
            task = asyncio.create_task(client.upload(file))
            await asyncio.to_thread(begun.wait, DEADLINE_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        go_on.set()

    with ScriptedServer(silent) as server:
        asyncio.run(cancelled(server.url))
    assert descriptors() == before


def test_one_task_at_a_time_uses_an_asyncio_client(file: Path) -> None:
    """Two would mix their messages on one connection."""

    async def twice(url: str) -> None:
        async with bets_protocol.aio.connect(url, agency=1) as client:
            first = asyncio.create_task(client.upload(file))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await client.winners()
            assert (await first).stored == 20

    with ScriptedServer(Central()) as server:
        asyncio.run(twice(server.url))


def _crc(bets: list[bytes]) -> int:
    return zlib.crc32(b"".join(bets))
