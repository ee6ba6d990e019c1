"""The simulation: its worlds have every kind of fault, a seed is a world, and a broken server is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from bets_protocol import WinnersRequest
from bets_server.intake.handlers import Handlers
from bets_server.store import Opening, Parcel
from tests.campaigns.faults import simulation
from tests.campaigns.faults.memory_store import MemoryStore
from tests.effort import examples


def test_worlds_have_faults_and_everybody_finishes() -> None:
    """In a few worlds every kind of fault happens; `nox -s faults` runs thousands."""
    seen: Counter[str] = Counter()
    for seed in range(examples(120)):
        seen += simulation.run(seed)
    assert set(seen) == {"server crashed", "client killed", "connection lost", "silence", "fenced", "resumed"}


def test_a_seed_is_a_world() -> None:
    """The same seed gives the same world, so that what was found can be looked at."""
    assert simulation.run(17) == simulation.run(17)


def _forged(store: MemoryStore, parcel: Parcel, *, anywhere: bool) -> Parcel:
    assert parcel.ticket is not None
    now = next(each for each in store.uploads() if each.number == parcel.ticket.upload)
    row = now.stored if anywhere else parcel.first_row
    return attrs.evolve(parcel, ticket=attrs.evolve(parcel.ticket, epoch=now.epoch), first_row=row)


def _commit_whatever_the_epoch(store: MemoryStore, parcel: Parcel) -> Any:
    return _TAKE(store, _forged(store, parcel, anywhere=False))


def _commit_wherever_it_fits(store: MemoryStore, parcel: Parcel) -> Any:
    return _TAKE(store, _forged(store, parcel, anywhere=True))


def _forget_what_is_stored(store: MemoryStore, *arguments: Any, **options: Any) -> Opening:
    return attrs.evolve(_OPEN(store, *arguments, **options), stored=0, crc32=0)


def _lose_the_last_batch(store: MemoryStore, parcel: Parcel) -> Any:
    receipt = _TAKE(store, parcel)
    if next(each for each in store.uploads() if each.number == parcel.ticket.upload).finished:  # type: ignore[union-attr]
        store._mine["runs"].pop()
    return receipt


def _seal_at_once(handlers: Handlers, request: WinnersRequest, *details: Any) -> Any:
    handlers.close_without(request.agency)
    return _WINNERS(handlers, request, *details)


_TAKE, _OPEN, _WINNERS = MemoryStore._take, MemoryStore.open_upload, Handlers._winners


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (MemoryStore, "_take", _commit_whatever_the_epoch),
        (MemoryStore, "_take", _commit_wherever_it_fits),
        (MemoryStore, "open_upload", _forget_what_is_stored),
        (MemoryStore, "_take", _lose_the_last_batch),
        (Handlers, "_winners", _seal_at_once),
    ],
    ids=["no epoch", "no epoch and no row", "forgetful", "lost", "sealed while unfinished"],
)
def test_a_broken_server_is_found_out(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: Callable[..., Any]
) -> None:
    """Within a few hundred worlds."""
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(Exception, match=r"seed|stored|winners|expected|rest"):
        _worlds(400)


def _worlds(count: int) -> None:
    for seed in range(count):
        simulation.run(seed)
