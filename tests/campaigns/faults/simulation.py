"""A whole lottery in one thread: real sessions, handlers, connections and upload machines; fake time, net and disk.

`run(seed)` makes one world from its seed: agencies with one or two files each, a server, and faults (connections that
break in any byte, frames that arrive after their sender has come back, silence, a server that crashes before or after a
commit, clients that are killed, started twice or run again). After a while the faults end, and everybody must finish.
Then the book is compared with the files: nothing that was acknowledged is missing, nothing is there twice, every
agency has its own winners, and after the draw nothing has changed.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Bet,
    BetRun,
    ClientConnection,
    RejectCode,
    TransportError,
    UploadRefused,
    UploadStatus,
    encode_bets,
)
from bets_protocol.connection import upload as client_upload
from bets_protocol.encoded import encoded_batches, split_bets
from bets_server.intake.handlers import Handlers, answer_at_once
from bets_server.intake.requests import Answer, Reply, Work
from bets_server.reactor.fencing import Fencing
from bets_server.reactor.session import Session
from tests.campaigns.faults.memory_store import Disk, MemoryStore
from tests.campaigns.faults.simulated_net import Clock, Faults, SimulatedStream

WINNING = 7
FAULTS_S = 60.0
"""Simulated seconds with faults; then everybody has `FINISH_S` to finish."""

FINISH_S = 30.0
SILENCE_S = 10.0
"""After which a client takes its connection for lost."""


@attrs.define(eq=False)
class Upload:
    """One file and what the world has been told about it.

    Attributes:
        asks: whether its clients ask for the winners: those of the agency's last file.
        acknowledged: the most bets that any client of it was told to be stored.
        finished: how often a client of it has come to its end.
        winners: every list that a client of it got.
    """

    agency: int
    upload_id: bytes
    bets: tuple[Bet, ...]
    asks: bool
    acknowledged: int = 0
    finished: int = 0
    winners: list[tuple[str, ...]] = attrs.Factory(list)

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        """As `BatchSource.resume`."""
        return zlib.crc32(encode_bets(self.bets[:row])), encoded_batches(
            split_bets(encode_bets(self.bets[row:])), agency=self.agency, max_amount=4
        )


class Center:
    """The server: sessions and handlers as they are, and a loop in place of the reactor's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[int, Session] = {}
        self._numbers = 0
        self._group: list[Work] = []
        self._in_work = False
        self._fencing = Fencing()
        self._handlers = Handlers(MemoryStore(world.disk), agencies=len(world.agencies), pick=lambda: WINNING, draw=1)
        self.up = True

    def accept(self, stream: SimulatedStream) -> None:
        """A new connection."""
        self._numbers += 1
        session = Session(self._numbers, stream, revision=9)
        self._sessions[session.number] = session
        stream.on_readable = lambda: self._readable(session)

    def crash(self) -> None:
        """Nothing of it is left but the disk; whoever was connected finds out sooner or later."""
        self.up = False
        for session in self._sessions.values():
            stream = session.stream
            assert isinstance(stream, SimulatedStream)
            stream.on_readable = lambda: None
            stream.break_off(both=True)

    def _readable(self, session: Session) -> None:
        if not self.up or session.number not in self._sessions:
            return
        try:
            if session.closing:
                session.throw_away()
            else:
                session.read()
        except TransportError:
            self._drop(session)
        else:
            self._advance(session)

    def _advance(self, session: Session) -> None:
        try:
            while (work := session.next_work()) is not None:
                answers = answer_at_once(work)
                if answers is None:
                    self._group.append(work)
                    break
                session.take_answers(answers)
            session.flush()
        except TransportError:
            self._drop(session)
            return
        if session.closing and not session.outbox:
            self._drop(session)
        self._start_commit()

    def _drop(self, session: Session) -> None:
        if self._sessions.pop(session.number, None) is not None:
            self._fencing.forget(session)
            session.stream.close()

    def _start_commit(self) -> None:
        if self._group and not self._in_work:
            self._in_work = True
            group, self._group = self._group, []
            self._world.clock.after(self._world.faults.delay_s(), lambda: self._commit(group))

    def _commit(self, group: Sequence[Work]) -> None:
        """The store's job; between it and the answers the server may crash."""
        if not self.up:
            return
        outcome = self._handlers.answer_group(group)
        self._world.clock.after(self._world.faults.delay_s(), lambda: self._answer(outcome.answers, outcome.drawn_now))

    def _answer(self, answers: Sequence[tuple[int, tuple[Answer, ...]]], drawn: bool) -> None:
        if not self.up:
            return
        self._in_work = False
        answered = []
        for number, each in answers:
            session = self._sessions.get(number)
            if session is not None:
                self._require_older(session, each)
                session.take_answers(each)
                answered.append(session)
        if drawn:
            self._group += [again for s in self._sessions.values() if (again := s.ask_again()) is not None]
        for session in answered:
            self._fence(session)
            self._advance(session)
        self._start_commit()

    def _require_older(self, session: Session, answers: Sequence[Answer]) -> None:
        """Only a connection that a newer one has overtaken is fenced: else nobody would be left to finish."""
        for answer in answers:
            reply = answer.reply if isinstance(answer, Reply) else None
            if isinstance(reply, UploadStatus) and reply.code == RejectCode.FENCED:
                assert session.binding is not None
                ticket = session.binding.ticket
                newest = ticket.epoch == self._world.disk.epoch(ticket.upload)
                assert not newest, f"seed {self._world.seed}: the newest connection of an upload was fenced"

    def _fence(self, session: Session) -> None:
        overtaken = self._fencing.claim(session) if session.number in self._sessions else None
        if overtaken is not None and not overtaken.busy:
            overtaken.end_upload(RejectCode.FENCED)
            self._advance(overtaken)


class Client:
    """One run of a client: an upload machine over simulated connections. Ends finished, fenced or killed."""

    def __init__(self, world: World, upload: Upload) -> None:
        self._world = world
        self.upload = upload
        self._stream: SimulatedStream | None = None
        self._heard_at = 0.0
        self._connection = ClientConnection(revision=9)
        self.machine = client_upload.Upload(
            agency=upload.agency,
            draw=1,
            total=len(upload.bets),
            upload_id=upload.upload_id,
            source=upload,
            window=world.chooser.choice([1, 2, 8]),
            ask=upload.asks,
        )
        self.over = False
        self._connect()

    def kill(self, *, cleanly: bool) -> None:
        """SIGKILL, or a machine that loses its power: nobody tells the server, then."""
        self.over = True
        if self._stream is not None:
            self._stream.on_readable = lambda: None
            if cleanly:
                self._stream.close()

    def _connect(self) -> None:
        if self.over:
            return
        center = self._world.center
        if not center.up:
            self._again_in(self._world.chooser.uniform(0.05, 1))
            return
        mine, theirs = SimulatedStream.pair(self._world.clock, self._world.faults)
        self._stream = mine
        self._connection = ClientConnection(revision=9)
        self.machine.connected()
        mine.on_readable = lambda: self._readable(mine)
        center.accept(theirs)
        self._heard_at = self._world.clock.now
        self._watch(mine)
        self._say()

    def _again_in(self, seconds: float) -> None:
        self._stream = None
        self.machine.lost()
        self._world.clock.after(seconds, self._connect)

    def _watch(self, stream: SimulatedStream) -> None:
        """Silence while an answer is due is a lost connection."""

        def look() -> None:
            if self.over or stream is not self._stream:
                return
            if self.machine.awaiting and self._world.clock.now - self._heard_at >= SILENCE_S:
                self._world.seen["silence"] += 1
                stream.on_readable = lambda: None
                stream.break_off(both=False)
                self._again_in(0.1)
            else:
                self._watch(stream)

        self._world.clock.after(SILENCE_S / 2, look)

    def _say(self) -> None:
        if self._stream is None:
            return
        try:
            while (message := self.machine.next_message()) is not None:
                self._stream.send_all(self._connection.send(message))
        except TransportError:
            self._lost()

    def _lost(self) -> None:
        self._world.seen["connection lost"] += 1
        self._again_in(self._world.chooser.uniform(0, 1))

    def _readable(self, stream: SimulatedStream) -> None:
        if self.over or stream is not self._stream:
            return
        try:
            while (data := stream.receive()) is not None:
                if not data:  # as for a link: whatever it cuts short, the server is gone
                    self._lost()
                    return
                self._connection.receive_data(data)
                self._heard_at = self._world.clock.now
                self._listen()
                if self.over or stream is not self._stream:
                    break
        except TransportError:
            if stream is self._stream and not self.over:
                self._lost()
            return
        if stream is self._stream and not self.over:
            self._say()

    def _listen(self) -> None:
        while (event := self._connection.next_event()) is not NEED_DATA:
            if event is CLOSED:
                self._lost()
                return
            if isinstance(event, UploadStatus) and event.code in (0, 9, 16):
                self.upload.acknowledged = max(self.upload.acknowledged, event.stored)
            try:
                self.machine.answered(event)  # type: ignore[arg-type]  # those two
            except UploadRefused as error:
                if error.code is not RejectCode.FENCED:  # nothing else may refuse a bet in this world
                    raise AssertionError(f"seed {self._world.seed}: {error}") from error
                self._world.seen["fenced"] += 1
                self.kill(cleanly=True)  # another run of the same client has taken over
                return
            if self.machine.finished:
                self._world.seen["resumed"] += self.machine.already_stored > 0
                self.upload.finished += 1
                if self.upload.asks:
                    assert self.machine.winners is not None
                    self.upload.winners.append(self.machine.winners)
                self.kill(cleanly=True)
                return
            if self.machine.reconnect_for is not None:
                self._lost()
                return
            if self.machine.ask_again_due:
                self._world.clock.after(client_upload.ASK_AGAIN_S, self._ask_again)

    def _ask_again(self) -> None:
        if not self.over:
            self.machine.ask_again()
            self._say()


class World:
    """Everything that there is, from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chooser = random.Random(seed)
        self.clock = Clock()
        self.faults = Faults(self.chooser)
        self.disk = Disk()
        self.agencies = range(1, self.chooser.randint(2, 4))
        self.uploads = [upload for agency in self.agencies for upload in self._new_uploads(agency)]
        self.center = Center(self)
        self.clients: list[Client] = []
        self.seen: Counter[str] = Counter()  # what happened, so that a world without any fault is noticed

    def _new_uploads(self, agency: int) -> Iterator[Upload]:
        count = self.chooser.choice([1, 1, 2])
        for place in range(count):
            yield self._new_upload(agency, place, asks=place == count - 1)

    def _new_upload(self, agency: int, place: int, *, asks: bool) -> Upload:
        bets = tuple(
            Bet(
                agency=agency,
                first_name="Ana",
                last_name="Paz",
                document=f"{agency:02}{place:02}{row:04}",
                birthdate="1999-03-17",
                number=self.chooser.choice([WINNING, 8]),
            )
            for row in range(self.chooser.randint(1, 24))
        )
        return Upload(agency, bytes([agency, place]) * 8, bets, asks)

    def live(self) -> None:
        """Lets the world run: with faults, then without.

        Raises:
            AssertionError: somebody did not finish once the faults had ended.
        """
        for upload in self.uploads:
            self.clock.after(self.chooser.uniform(0, 5), lambda upload=upload: self._start(upload))  # type: ignore[misc]
        for _ in range(self.chooser.randint(0, 4)):
            self.clock.after(self.chooser.uniform(0, FAULTS_S), self._crash)
        for _ in range(self.chooser.randint(0, 6)):
            self.clock.after(self.chooser.uniform(0, FAULTS_S), self._meddle)
        self.clock.run(FAULTS_S, lambda: False)
        self.faults.calm = True
        for upload in self.uploads:
            # What the user does: run the same command again, unless it is still running.
            self._run_again(upload)
        finished = self.clock.run(FAULTS_S + FINISH_S, self._all_have_winners)
        assert finished, f"seed {self.seed}: not everybody has finished within {FINISH_S:g} s"

    def _all_have_winners(self) -> bool:
        for upload in self.uploads:
            self._run_again(upload)
        return all(upload.finished for upload in self.uploads)

    def _run_again(self, upload: Upload) -> None:
        """What the user does unless the command is still running or has come to its end."""
        if not upload.finished and not any(c for c in self.clients if c.upload is upload and not c.over):
            self._start(upload)

    def _start(self, upload: Upload) -> None:
        """Runs the command; not before the agency's other files are on their way, since it says that these are all."""
        known = {row.upload_id for row in MemoryStore(self.disk).uploads()}
        others = {other.upload_id for other in self.uploads if other.agency == upload.agency and other is not upload}
        if not upload.asks or others <= known:
            self.clients.append(Client(self, upload))
        elif not self.faults.calm:
            self.clock.after(0.5, lambda: self._start(upload))

    def _crash(self) -> None:
        if self.center.up:
            self.seen["server crashed"] += 1
            self.center.crash()
            self.clock.after(self.chooser.uniform(0.1, 3), self._restart)

    def _restart(self) -> None:
        self.center = Center(self)

    def _meddle(self) -> None:
        """Kills a client and runs it again, or runs another one beside it."""
        upload = self.chooser.choice(self.uploads)
        running = [client for client in self.clients if client.upload is upload and not client.over]
        if running and self.chooser.random() < 0.6:
            self.seen["client killed"] += 1
            self.chooser.choice(running).kill(cleanly=self.chooser.random() < 0.5)
        self.clock.after(self.chooser.uniform(0, 2), lambda: self._start(upload))

    def check(self) -> None:
        """Compares the book with the files and with what clients were told.

        Raises:
            AssertionError: a promise is broken; names the seed.
        """
        seed = f"seed {self.seed}"
        store = MemoryStore(self.disk)
        state = store.state()
        rows = {row.upload_id: row for row in store.uploads()}
        assert len(rows) == len(store.uploads()), f"{seed}: an upload is in the book twice"
        for upload in self.uploads:
            row = rows[upload.upload_id]
            assert upload.acknowledged <= row.stored, f"{seed}: acknowledged bets are lost"
            assert self.disk.encoded(row) == encode_bets(upload.bets), f"{seed}: an upload is not its file"
        for agency in self.agencies:
            mine = [upload for upload in self.uploads if upload.agency == agency]
            won = sorted(bet.document for upload in mine for bet in upload.bets if bet.number == WINNING)
            lists = {winners for upload in mine for winners in upload.winners}
            assert len(lists) == 1, f"{seed}: agency {agency} was told different winners"
            assert sorted(lists.pop()) == won, f"{seed}: agency {agency} was told the wrong winners"
        assert state.drawn, f"{seed}: there was no draw"
        encoded = b"".join(data for _, data in self.disk.runs())
        assert state.digest == hashlib.sha256(encoded).hexdigest(), f"{seed}: the book has changed since the draw"
        draws = [entry for entry in store.audit() if entry.event == "draw"]
        assert len(draws) == 1, f"{seed}: {len(draws)} draws"


def run(seed: int) -> Counter[str]:
    """One world; gives how often what happened in it.

    Raises:
        AssertionError: a promise is broken; the text names the seed.
    """
    world = World(seed)
    world.live()
    world.check()
    return world.seen
