"""Random histories of a store, compared step by step with a model.

A history opens, stores, takes over, sends late or twice, seals, voids and closes in any order, with crashes in between.
After each step:

1. acknowledged bets are stored;
2. each row of an upload is stored at most once, and is the row of its file;
3. the numbers of an upload match its stored rows;
4. a finished upload is its file, and its CRC-32 is that of the file;
5. winners are each agency's own, never known before the draw, and always the same;
6. after the draw nothing changes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from bets_protocol import Bet, RejectCode
from bets_server.store import BetStore, NotVoidable, Opening, Parcel, Ticket, UploadState, Verdict, open_store
from bets_server.store.conformance.model import MAX_UNFINISHED, MAX_UPLOADS, ModelDraw
from bets_server.store.conformance.samples import WINNING, Suite, batch_of, upload_id

RUNS_VARIABLE: Final = "BETS_STATE_MACHINE_RUNS"

# Each step may open files: a small share of the examples that the profile asks for.
_RUNS = int(os.environ.get(RUNS_VARIABLE) or max(1, settings().max_examples // 16))
_STEPS = 30

# A file system in memory, because flushing to a disk would take most of the time and changes no result.
_MEMORY: Final = Path("/dev/shm")
_DRAWS: Final = (1, 2)

_AGENCIES = st.integers(1, 3)
_NUMBERS = st.sampled_from([0, WINNING, 0x2020])
_BETS = st.builds(
    Bet,
    agency=_AGENCIES,
    first_name=st.sampled_from(["Ana", "José  María", '"', ","]),
    last_name=st.sampled_from(["Paz", "Ñandú", "\u2029"]),
    document=st.integers(0, 10**8 - 1).map("{:08d}".format),
    birthdate=st.dates().map(str),
    number=_NUMBERS,
)


def file_row(agency: int, which: int, row: int) -> Bet:
    """A row of an upload's file. Its document has the agency, the upload and the row."""
    return Bet(
        agency=agency,
        first_name="Ana",
        last_name="Paz",
        document=f"{agency:02d}{which:02d}{row:04d}",
        birthdate="1999-03-17",
        number=(0, WINNING, 0x2020)[row % 3],
    )


@attrs.frozen
class _Held:
    """A ticket that a client holds, which may be an old one."""

    draw: int
    which: int
    ticket: Ticket


@attrs.frozen
class _Sent:
    """A part of a group.

    Attributes:
        held: the ticket.
        count: how many bets.
        shift: the distance from the row where it should begin.
        first_row: the row where it begins, or None to compute it.
    """

    held: _Held
    count: int
    shift: int = 0
    first_row: int | None = None


def _compared(upload: UploadState) -> UploadState:
    """The compared part of an upload: without the CRC-32 of an anonymous one."""
    return attrs.evolve(upload, crc32=0) if upload.total is None else upload


class HistoryTests(Suite):
    """The test with random histories."""

    def test_any_history_is_that_of_the_model(self) -> None:
        """After any calls in any order, store and model report the same."""
        this_suite = self

        class Histories(_Histories):
            suite = this_suite

        run_state_machine_as_test(
            Histories, settings=settings(max_examples=_RUNS, stateful_step_count=_STEPS, deadline=None)
        )


class _Histories(RuleBasedStateMachine):
    """Random histories of one store with two draws; `suite` gives its URL."""

    suite: ClassVar[Suite]
    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self._folders = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self._generation = 0
        self._folder.mkdir()
        self._url = self.suite.new_store_url(self._folder)
        self._models = {draw: ModelDraw(draw) for draw in _DRAWS}
        self._draw = 1
        self._open(1)

    @property
    def _folder(self) -> Path:
        return Path(self._folders.name) / str(self._generation)

    @property
    def _model(self) -> ModelDraw:
        return self._models[self._draw]

    def _open(self, draw: int, *, create: bool = True) -> None:
        self._draw = draw
        self._store: BetStore = open_store(self._url, draw=draw, create=create)
        self._store.max_unfinished_uploads, self._store.max_uploads = MAX_UNFINISHED, MAX_UPLOADS

    @rule(target=tickets, agency=_AGENCIES, which=st.integers(0, 4), total=st.sampled_from([4, 4, 4, 9, 0]))
    def open_upload(self, agency: int, which: int, total: int) -> Any:
        """Open an upload, new, begun or finished; this takes it over from another client."""
        opening = self._store.open_upload(agency, upload_id(which), total=total)
        code, upload = self._model.open(agency, upload_id(which), total)
        if upload is None or code is not RejectCode.OK:
            stored, crc32 = (len(upload.bets), upload.crc32) if upload is not None else (0, 0)
            assert opening == Opening(code=code, stored=stored, crc32=crc32)
            return multiple()
        ticket = opening.ticket
        assert ticket is not None
        if not upload.number:
            upload.number = ticket.upload
        assert ticket == Ticket(agency=agency, upload=upload.number, epoch=upload.epoch)
        assert opening == Opening(code=code, stored=len(upload.bets), crc32=upload.crc32, ticket=ticket)
        return _Held(self._draw, which, ticket)

    @rule(
        sent=st.lists(
            st.builds(_Sent, tickets, st.sampled_from([1, 1, 2, 3, 4]), st.sampled_from([0, 0, 0, 0, -1, -2, 1])),
            min_size=1,
            max_size=5,
        ),
        batches=st.lists(st.lists(_BETS, min_size=1, max_size=3), max_size=1),
    )
    def commit(self, sent: Sequence[_Sent], batches: Sequence[Sequence[Bet]]) -> None:
        """Commit a group of parcels, some late or twice, with a batch without an upload."""
        self._commit(sent, batches)

    @rule(held=tickets, counts=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def send_on(self, held: _Held, counts: Sequence[int]) -> None:
        """Commit consecutive parcels of one upload, sent without waiting."""
        self._commit([_Sent(held, count) for count in counts], [])

    @rule(held=tickets)
    def send_all_from_the_start(self, held: _Held) -> None:
        """Commit all parcels of a file again, as from a connection that was taken for dead."""
        self._commit([_Sent(held, 1, first_row=row) for row in range(4)], [])

    @rule(batches=st.lists(st.lists(_BETS, min_size=1, max_size=5), max_size=4))
    def append(self, batches: Sequence[Sequence[Bet]]) -> None:
        """Commit batches without uploads."""
        self._commit([], batches)

    def _commit(self, sent: Sequence[_Sent], batches: Sequence[Sequence[Bet]]) -> None:
        group: list[Parcel] = []
        expected: list[tuple[Verdict, int, int]] = []
        ahead: dict[_Held, int] = {}
        for each in sent:
            held, ticket = each.held, each.held.ticket
            uploads = [upload for upload in self._model.uploads if upload.number == ticket.upload]
            upload = uploads[0] if uploads else None
            end = ahead.get(held, len(upload.bets) if upload is not None else 0)
            first_row = max(0, end + each.shift) if each.first_row is None else each.first_row
            bets = [file_row(ticket.agency, held.which, first_row + row) for row in range(each.count)]
            ahead[held] = first_row + each.count
            group.append(Parcel(runs=batch_of(bets), ticket=ticket, first_row=first_row))
            verdict = self._model.add(upload, ticket.epoch, first_row, bets)
            expected.append((verdict, len(upload.bets), upload.crc32) if upload is not None else (verdict, 0, 0))
        for batch in batches:
            group.append(Parcel(runs=batch_of(batch)))
            expected.append((self._model.add_anonymous(batch), 0, 0))
        receipts = self._store.commit(group)
        assert [(receipt.verdict, receipt.stored, receipt.crc32) for receipt in receipts] == expected
        self._learn_numbers()

    def _learn_numbers(self) -> None:
        """Take over the numbers of anonymous uploads, which the store makes with their first bets."""
        anonymous = {
            each.agency: each.number for each in self._store.uploads() if each.total is None and not each.voided
        }
        for upload in self._model.uploads:
            upload.number = upload.number or anonymous[upload.agency]

    @rule(agency=_AGENCIES, expected=st.integers(1, 3), number=_NUMBERS, forced=st.booleans())
    def seal(self, agency: int, expected: int, number: int, forced: bool) -> None:
        """Seal an agency, by itself or by an operator; if it was the last one missing, the draw takes place."""
        outcome = self._store.seal_and_draw(agency, expected=expected, pick=lambda: number, forced=forced)
        assert outcome == self._model.seal(agency, expected, number, forced=forced)

    @rule(index=st.integers(0, 9))
    def void(self, index: int) -> None:
        """Void an upload, if that is allowed."""
        uploads = self._model.uploads
        if not uploads:
            return
        upload = uploads[index % len(uploads)]
        if self._model.may_void(upload):
            self._model.void(upload)
            assert _compared(self._store.void(upload.number, reason="any")) == upload.state
        else:
            with pytest.raises(NotVoidable):
                self._store.void(upload.number, reason="any")

    @rule(draw=st.sampled_from(_DRAWS), create=st.booleans())
    def reopen(self, draw: int, create: bool) -> None:
        """Stop the server and start another one, for any draw."""
        self._store.close()
        self._open(draw, create=create)

    @rule()
    def crash(self) -> None:
        """Kill the server; the next one finds what is on disk."""
        before = self._folder
        self._generation += 1
        self._url = self.suite.url_after_crash(before, self._folder)
        self._store.close()
        self._open(self._draw, create=False)

    @invariant()
    def tells_what_the_model_does(self) -> None:
        """Compare everything that a store reports."""
        model = self._model
        assert self._store.state() == model.state
        assert list(self._store.bets()) == model.bets
        uploads = self._store.uploads()
        assert [upload.number for upload in uploads] == sorted(upload.number for upload in model.uploads)
        by_number = {upload.number: upload for upload in model.uploads}
        assert len(by_number) == len(model.uploads)
        assert [_compared(upload) for upload in uploads] == [by_number[upload.number].state for upload in uploads]
        for agency in range(1, 4):
            assert self._store.winners(agency) == model.winners(agency)
            assert list(self._store.bets(agency)) == [bet for bet in model.bets if bet.agency == agency]
        done = [(self._draw, *entry) for entry in model.done]
        told = [(entry.draw, entry.event, entry.agency) for entry in self._store.audit()]
        assert [entry for entry in told if entry[0] == self._draw] == done

    def teardown(self) -> None:
        """The end of a history."""
        self._store.close()
        self._folders.cleanup()
