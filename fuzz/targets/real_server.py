"""A real server, listeners, reactor, workers and a store on disk, and peers that do what the bytes say.

Two bytes are a step: which peer does what. After each step everything that any peer was told must be what the oracle
says, and nothing else; at the end, and wherever the server is restarted, so must be the book. Steps may race: then one
of the two orders must explain what was told and what is stored.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import select
import tempfile
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

from bets_protocol import TransportError, encode_bets
from bets_protocol.transports import Stream, connect
from bets_server.store import BetStore, open_store, path_of, register_store
from fuzz.oracle import AGENCIES, Peer, Phase, World
from tests.campaigns.faults.raw_agency import ask_message, open_message
from tests.server.serving import Server
from tests.server.wire import WINNING, batch, bet

_DEADLINE_S = 10.0
_LOOK_S = 0.001
_MAX_PEERS = 6
_MAX_WORLDS = 8
_MAX_STEPS = 60
_NO_FRAMES = (
    *(b"\x00", b"\x04rest", b"\x7f", b"\xff" * 9, b"\x83"),
    *(b"\x01\x00", b"\x01\x01\x00\x18", b"\x01\x01\xff\xff"),
)

_BOOK = "fuzzed-book"
"""A SQLite book that is there: to make one, and room for it, takes twenty times as long as all that is done with it."""


def _open_book(url: str, *, draw: int, create: bool, readonly: bool) -> BetStore:  # noqa: ARG001 - it is there
    return open_store(f"sqlite:///{path_of(url)}", draw=draw, create=False)


register_store(_BOOK, _open_book)

Event = Callable[[World, Peer], None]


def sessions(data: bytes) -> None:
    """Whatever peers do, in whatever order, they hear and the book holds what a model of few lines says."""
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as folder:
        play = _Play(Path(folder), sqlite=bool(data) and data[0] % 2 == 1)
        try:
            for which, what in itertools.islice(zip(data[1::2], data[2::2], strict=False), _MAX_STEPS):
                play.step(which, what)
            play.check_book()
        finally:
            play.close()


class _Play:
    """The server, the peers' ends, and every world that explains what was told so far."""

    def __init__(self, folder: Path, *, sqlite: bool) -> None:
        self._folder = folder
        self._store = _BOOK if sqlite else "csv"
        self._streams: list[Stream | None] = []
        self._told: list[bytes] = []
        self._ended: list[bool] = []
        self._rows = itertools.count(1)
        self._worlds = [World()]
        if sqlite:
            (folder / "bets").write_bytes(_empty_book())
        self._server = self._start()

    def _start(self) -> Server:
        return Server(self._folder, scheme="memory", store=self._store, agencies=AGENCIES)

    def close(self) -> None:
        """Ends everything; the server's log must be as documented."""
        for stream in self._streams:
            if stream is not None:
                stream.close()
        self._server.close()

    def step(self, which: int, what: int) -> None:
        """One step."""
        kind, peer = which % 16, which // 16
        ready = self._ready()
        if kind == 0 or not ready:
            self._connect()
        elif kind == 1:
            self._drop(ready[peer % len(ready)])
        elif kind == 2:
            self._restart()
        elif kind in (3, 4, 5) and len(ready) > 1:
            first, second = ready[peer % len(ready)], ready[(peer + 1) % len(ready)]
            self._do([(first, *self._action(first, what % 16)), (second, *self._action(second, what // 16))])
        elif kind == 6:  # several messages at once
            index = ready[peer % len(ready)]
            self._do([(index, *self._pipelined(index, what))])
        elif kind == 14:  # the end of its side: between two messages, or in the middle of one
            index = ready[peer % len(ready)]
            data, broken = self._cut_off(what)
            self._do([(index, data, [World.break_protocol if broken else World.end])], ends=True)
        else:
            index = ready[peer % len(ready)]
            self._do([(index, *self._action(index, what))])

    # -- what a peer does: the bytes, and the same for the oracle

    def _action(self, index: int, what: int) -> tuple[bytes, list[Event]]:
        argument = what // 8
        match what % 8:
            case 0 | 1:
                return self._open(argument)
            case 2 | 3 | 4:
                return self._batch(index, argument)
            case 5:
                agency = 1 + argument % 3 if argument >= 8 else self._agency(index)
                return ask_message(agency), [lambda world, peer: world.ask(peer, agency)]
            case 6:
                return self._bad(argument)
            case _:
                line = b"~" * (1 + argument) + b"\n"
                return line, [lambda world, peer: world.probe(peer, line)]

    def _open(self, argument: int) -> tuple[bytes, list[Event]]:
        agency, name, draw = 1 + argument % 3, bytes([argument // 3 % 2]) * 16, 2 if argument == 31 else 1
        total = (3, 0, 5, 2**64 - 1)[argument // 6 % 4] if argument > 17 else 4
        return open_message(agency, name, total, draw=draw), [
            lambda world, peer: world.open(peer, agency=agency, draw=draw, total=total, name=name)
        ]

    def _batch(self, index: int, argument: int) -> tuple[bytes, list[Event]]:
        agency, count = self._agency(index), 1 + argument % 4
        agencies = [1 + (agency + row) % 3 if argument >= 24 else agency for row in range(count)]
        pairs = zip(agencies, self._rows, strict=False)  # the second one never ends
        bets = [(a, bet(row, agency=a, number=WINNING if row % 2 else 8)) for a, row in pairs]
        return batch(*(each for _, each in bets)), [lambda world, peer: world.batch(peer, bets)]

    def _bad(self, argument: int) -> tuple[bytes, list[Event]]:
        if argument % 2:
            return batch(bet(), bet(number=10_000)), [lambda world, peer: world.bad_value(peer)]
        return _NO_FRAMES[argument // 2 % len(_NO_FRAMES)], [lambda world, peer: world.break_protocol(peer)]

    def _cut_off(self, what: int) -> tuple[bytes, bool]:
        """The first bytes of a batch, perhaps none, and whether there are any."""
        whole = batch(bet(), bet())
        size = what % len(whole)
        return whole[:size], size > 0

    def _pipelined(self, index: int, what: int) -> tuple[bytes, list[Event]]:
        """Up to four messages in one piece; nothing behind a question, since that waits with it."""
        parts, events = [], []
        for argument in [what % 4, what // 4 % 4, 31 if what >= 192 else 0][: 1 + what // 16 % 3]:
            data, event = self._batch(index, argument)
            parts.append(data)
            events += event
        if what // 64 % 2:
            data, event = self._action(index, 5)
            parts.append(data)
            events += event
        return b"".join(parts), events

    def _agency(self, index: int) -> int:
        """The peer's own: that of its upload, else one that follows from its place."""
        peer = self._worlds[0].peers[index]
        return 1 + index % 2 if peer.upload is None else self._worlds[0].uploads[peer.upload].agency

    # -- the same for the server and for the worlds

    def _ready(self) -> list[int]:
        """The peers that can say something whose answer comes now, in every world."""
        return [
            index
            for index, stream in enumerate(self._streams)
            if stream is not None
            and all(w.peers[index].phase is not Phase.ENDED and w.peers[index].waits is None for w in self._worlds)
        ]

    def _connect(self) -> None:
        if sum(stream is not None for stream in self._streams) < _MAX_PEERS:
            stream = connect(self._server.url, timeout_s=_DEADLINE_S)
            stream.set_timeout(0)
            self._streams.append(stream)
            self._told.append(b"")
            self._ended.append(False)
            for world in self._worlds:
                world.peers.append(Peer())

    def _drop(self, index: int) -> None:
        stream = self._streams[index]
        if stream is not None:
            stream.close()
            self._streams[index] = None
        for world in self._worlds:
            world.end(world.peers[index])

    def _do(self, actions: list[tuple[int, bytes, list[Event]]], *, ends: bool = False) -> None:
        """Everything at once; one of the orders of the actions must explain what follows.

        Args:
            ends: the peers end their sides behind it.
        """
        if len(actions) > 1 and 2 * len(self._worlds) > _MAX_WORLDS:
            for action in actions:
                self._do([action])
            return
        worlds = []
        for order in itertools.permutations(actions):
            for world in copy.deepcopy(self._worlds):
                for index, _, events in order:
                    for event in events:
                        if world.peers[index].phase is not Phase.ENDED:
                            event(world, world.peers[index])
                worlds.append(world)
        for index, data, _ in actions:
            stream = self._streams[index]
            if stream is not None:
                with contextlib.suppress(TransportError):  # its upload may have been opened by another meanwhile
                    assert stream.send(data) == len(data), "no room for a few hundred bytes"
                    if ends:
                        stream.close_writing()
        self._worlds = self._explaining(worlds)
        self._close_ended()

    def _explaining(self, worlds: list[World]) -> list[World]:
        """Waits until what was told is what some of the worlds say.

        Raises:
            AssertionError: none of them does.
        """
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            told = [world for world in worlds if self._is_told_by(world)]
            sealed = self._server.store.state().sealed  # once, for all of the worlds
            if told and (found := [world for world in told if _has_asked(world, sealed)]):
                return found
            left = deadline - time.monotonic()
            assert left > 0, self._difference(worlds)
            self._listen(min(left, _LOOK_S) if told else left)

    def _is_told_by(self, world: World) -> bool:
        return all(
            stream is None or (told == peer.owed and ended == (peer.phase is Phase.ENDED))
            for stream, told, ended, peer in zip(self._streams, self._told, self._ended, world.peers, strict=True)
        )

    def _difference(self, worlds: list[World]) -> str:
        lines = [
            f"peer {index}: expected {[(w.peers[index].owed.hex(), w.peers[index].phase.name) for w in worlds]}, "
            f"told {told.hex()}{' and the end' if ended else ''}"
            for index, (stream, told, ended) in enumerate(zip(self._streams, self._told, self._ended, strict=True))
            if stream is not None
        ]
        return "\n".join(["the server says something else", *lines, self._server.raw_log])

    def _listen(self, wait_s: float) -> None:
        poll = select.poll()
        for index, stream in self._open_streams():
            if not self._ended[index]:
                poll.register(stream.fileno(), select.POLLIN)
        if not poll.poll(wait_s * 1000):
            return
        for index, stream in self._open_streams():
            try:
                while not self._ended[index] and (data := stream.receive()) is not None:
                    self._told[index] += data
                    self._ended[index] = not data
            except TransportError:
                self._ended[index] = True

    def _open_streams(self) -> Iterator[tuple[int, Stream]]:
        return ((index, stream) for index, stream in enumerate(self._streams) if stream is not None)

    def _close_ended(self) -> None:
        for index, stream in list(self._open_streams()):
            if self._ended[index]:
                stream.close()
                self._streams[index] = None

    def _restart(self) -> None:
        """A stop in good order, which everybody is told of, and a new server on the same files."""
        self._server.reactor.stop()
        for world in self._worlds:
            world.stop()
        self._worlds = self._explaining(self._worlds)
        self._close_ended()
        self._server.close()
        self._server = self._start()
        self.check_book()

    # -- the book

    def check_book(self) -> None:
        """Some world says exactly what is in the book.

        Raises:
            AssertionError: none does.
        """
        store = self._server.store
        state = store.state()
        # Nothing is promised of the checksum of bets that came without an upload.
        uploads = {
            (u.agency, u.upload_id): (u.total, u.stored, u.crc32 if u.upload_id else 0, u.epoch)
            for u in store.uploads()
        }
        bets = [encode_bets([each]) for each in store.bets()]
        winners = {agency: store.winners(agency) for agency in range(1, 4)}
        found = (uploads, bets, set(state.sealed), state.drawn, state.digest, winners)
        expected = [_book_of(world) for world in self._worlds]
        assert found in expected, f"in the book: {found}\nexpected one of {expected}"
        self._worlds = [world for world, book in zip(self._worlds, expected, strict=True) if book == found]


def _has_asked(world: World, sealed: AbstractSet[int]) -> bool:
    """Whether every question has arrived: one without an upload is not answered before the draw."""
    return {peer.waits for peer in world.peers if peer.upload is None and peer.waits is not None} <= sealed


def _book_of(world: World) -> tuple[object, ...]:
    uploads = {(u.agency, u.name): (u.total, len(u.bets), u.crc32 if u.name else 0, u.epoch) for u in world.uploads}
    winners = {
        agency: tuple(each.decode() for each in world.winners(agency)) if world.drawn else None
        for agency in range(1, 4)
    }
    return uploads, world.stored, world.sealed, world.drawn, world.digest, winners


@cache
def _empty_book() -> bytes:
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as folder:
        server = Server(Path(folder), scheme="memory", store="sqlite", agencies=AGENCIES)
        server.close()
        return (Path(folder) / "bets").read_bytes()
