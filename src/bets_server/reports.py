"""What can be asked of a store that no server has open."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bets_protocol import Bet, ConfigError, StorageError
from bets_protocol.programs.settings import resolve
from bets_protocol.programs.stopping import raise_if_stopped
from bets_server.config import SETTINGS
from bets_server.store import BetStore, open_store


def open_reading(store: str | None, draw: str | None) -> BetStore:
    """The store that options and environment name; it must be there.

    Raises:
        ConfigError: there is none, or it is not what it should be; nothing was created.
    """
    settings = [setting for setting in SETTINGS if setting.name in ("store", "draw")]
    values = resolve(settings, {"store": store, "draw": draw}, os.environ)
    try:
        return open_store(values["store"], draw=values["draw"], create=False)
    except StorageError as error:
        raise ConfigError(f"--store {values['store']}: {error}") from error


def winner_lines(book: BetStore, agency: int | None) -> list[str] | None:
    """A line ``agency,document`` for each winner, of one agency or of all; None where the draw has not taken place."""
    state = book.state()
    if not state.drawn:
        return None
    agencies = sorted(state.bets_by_agency) if agency is None else [agency]
    return [f"{number},{document}" for number in agencies for document in book.winners(number) or ()]


def until_stopped(bets: Iterator[Bet]) -> Iterator[Bet]:
    """The same bets, as long as nobody stops the program.

    Raises:
        Stopped: somebody did.
    """
    for bet in bets:
        raise_if_stopped()
        yield bet
