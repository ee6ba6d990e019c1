"""Random histories of a store, compared step by step with a model that is a few lists.

Whatever is opened, stored, taken over, sent late or twice, sealed, voided and closed, in whatever order, with crashes
in between, these hold after each step:

1. what was acknowledged is there;
2. each row of an upload is there once at most, and is the row of its file;
3. what an upload says of itself is what is stored of it;
4. a finished upload is its file, and its CRC-32 that of the file;
5. winners are each agency's own, never before the draw, the same on every ask;
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

# Nothing here depends on the disk, which would take most of the time: it is the same with a file system in memory.
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
    """A row of the file of an upload: its document tells whose it is and which."""
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
    """A ticket that somebody has, perhaps for long."""

    draw: int
    which: int
    ticket: Ticket


@attrs.frozen
class _Sent:
    """A part of a group.

    Attributes:
        held: with which ticket.
        count: how many bets.
        shift: how far from where it should begin.
        first_row: where it begins, come what may.
    """

    held: _Held
    count: int
    shift: int = 0
    first_row: int | None = None


def _compared(upload: UploadState) -> UploadState:
    """What of an upload is compared: the CRC-32 of an anonymous one is the store's own affair."""
    return attrs.evolve(upload, crc32=0) if upload.total is None else upload


class HistoryTests(Suite):
    """What holds whatever happens in whatever order."""

    def test_any_history_is_that_of_the_model(self) -> None:
        """Whatever is done in whatever order, store and model tell the same."""
        this_suite = self

        class Histories(_Histories):
            suite = this_suite

        run_state_machine_as_test(
            Histories, settings=settings(max_examples=_RUNS, stateful_step_count=_STEPS, deadline=None)
        )


class _Histories(RuleBasedStateMachine):
    """Random histories of one store with two draws; `suite` says where it lives."""

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
        """Opens an upload, new or begun or finished: a takeover where somebody has it."""
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
        """A group of parcels, some late or twice, beside a batch without an upload."""
        self._commit(sent, batches)

    @rule(held=tickets, counts=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def send_on(self, held: _Held, counts: Sequence[int]) -> None:
        """Parcels that somebody sends one behind the other, without waiting."""
        self._commit([_Sent(held, count) for count in counts], [])

    @rule(held=tickets)
    def send_all_from_the_start(self, held: _Held) -> None:
        """All parcels of a file once more, as from a connection that was long believed dead."""
        self._commit([_Sent(held, 1, first_row=row) for row in range(4)], [])

    @rule(batches=st.lists(st.lists(_BETS, min_size=1, max_size=5), max_size=4))
    def append(self, batches: Sequence[Sequence[Bet]]) -> None:
        """Batches without uploads."""
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
        """Anonymous uploads come into being with their first bets: the store says which number they got."""
        anonymous = {
            each.agency: each.number for each in self._store.uploads() if each.total is None and not each.voided
        }
        for upload in self._model.uploads:
            upload.number = upload.number or anonymous[upload.agency]

    @rule(agency=_AGENCIES, expected=st.integers(1, 3), number=_NUMBERS, forced=st.booleans())
    def seal(self, agency: int, expected: int, number: int, forced: bool) -> None:
        """An agency asks, or an operator closes it; where it was the last one missing, the draw takes place."""
        outcome = self._store.seal_and_draw(agency, expected=expected, pick=lambda: number, forced=forced)
        assert outcome == self._model.seal(agency, expected, number, forced=forced)

    @rule(index=st.integers(0, 9))
    def void(self, index: int) -> None:
        """An operator voids an upload, or may not."""
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
        """The server stops and another one starts, for any draw."""
        self._store.close()
        self._open(draw, create=create)

    @rule()
    def crash(self) -> None:
        """The server is killed: the next one finds what is on disk."""
        before = self._folder
        self._generation += 1
        self._url = self.suite.url_after_crash(before, self._folder)
        self._store.close()
        self._open(self._draw, create=False)

    @invariant()
    def tells_what_the_model_does(self) -> None:
        """Everything that a store can be asked."""
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
