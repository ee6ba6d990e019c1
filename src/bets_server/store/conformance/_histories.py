"""Random histories of a store, compared step by step with a model that is a few lists."""

# ruff: noqa: S101 - a conformance suite is pytest classes: they assert.

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bets_protocol import Bet
from bets_server.store import BetStore, DrawState, SealOutcome, Verdict, open_store
from bets_server.store.conformance._samples import WINNING, Suite, batch_of

# Each step may open files and wait for the disk: a fifth of the examples that the profile asks for.
_SETTINGS = settings(max_examples=max(1, settings().max_examples // 5), stateful_step_count=20, deadline=None)


class HistoryTests(Suite):
    """What holds whatever happens in whatever order."""

    def test_any_history_is_that_of_the_model(self) -> None:
        """Whatever is stored, refused, asked and opened again in whatever order, store and model tell the same."""
        this_suite = self

        class Histories(_Histories):
            suite = this_suite

        run_state_machine_as_test(Histories, settings=_SETTINGS)


@attrs.define
class _Model:
    """One draw as a few lists: what a store must be equal to."""

    bets: list[Bet] = attrs.Factory(list)
    sealed: set[int] = attrs.Factory(set)
    number: int | None = None

    def append(self, batches: Sequence[Sequence[Bet]]) -> list[Verdict]:
        verdicts = []
        for batch in batches:
            if self.number is not None:
                verdicts.append(Verdict.DRAW_CLOSED)
            elif self.sealed & {bet.agency for bet in batch}:
                verdicts.append(Verdict.SEALED)
            else:
                verdicts.append(Verdict.STORED)
                self.bets += batch
        return verdicts

    def ask(self, agency: int, expected: int, number: int) -> SealOutcome:
        if self.number is not None:
            return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
        newly_sealed = agency not in self.sealed
        self.sealed.add(agency)
        complete = self.sealed >= set(range(1, expected + 1))
        if complete:
            self.number = number
        return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def winners(self, agency: int) -> tuple[str, ...] | None:
        if self.number is None:
            return None
        return tuple(bet.document for bet in self.bets if (bet.agency, bet.number) == (agency, self.number))


_AGENCIES = st.integers(1, 4)
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
_GROUPS = st.lists(st.lists(_BETS, min_size=1, max_size=5), max_size=4)


class _Histories(RuleBasedStateMachine):
    """Random histories of one store with two draws; `suite` says where it lives."""

    suite: ClassVar[Suite]

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._url = self.suite.new_store_url(Path(self._folder.name))
        self._models = {1: _Model(), 2: _Model()}
        self._draw = 1
        self._store: BetStore = open_store(self._url)

    @property
    def _model(self) -> _Model:
        return self._models[self._draw]

    @rule(group=_GROUPS)
    def append(self, group: list[list[Bet]]) -> None:
        assert self._store.append([batch_of(batch) for batch in group]) == self._model.append(group)

    @rule(agency=_AGENCIES, expected=st.integers(1, 4), number=_NUMBERS)
    def ask(self, agency: int, expected: int, number: int) -> None:
        outcome = self._store.seal_and_draw(agency, expected=expected, pick=lambda: number)
        assert outcome == self._model.ask(agency, expected, number)

    @rule(draw=st.sampled_from([1, 2]), create=st.booleans())
    def reopen(self, draw: int, create: bool) -> None:
        self._store.close()
        self._draw = draw
        self._store = open_store(self._url, draw=draw, create=create)

    @invariant()
    def tells_what_the_model_does(self) -> None:
        model = self._model
        assert self._store.state() == DrawState(
            draw=self._draw,
            number=model.number,
            sealed=frozenset(model.sealed),
            bets_by_agency=Counter(bet.agency for bet in model.bets),
        )
        assert list(self._store.bets()) == model.bets
        for agency in range(1, 5):
            assert self._store.winners(agency) == model.winners(agency)
            assert list(self._store.bets(agency)) == [bet for bet in model.bets if bet.agency == agency]

    def teardown(self) -> None:
        self._store.close()
        self._folder.cleanup()
