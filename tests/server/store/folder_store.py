"""A third party's store: one JSON file that is written anew at each change and put in the place of the old one.

Written against the contract alone, to see that the contract is enough. It is slow and simple on purpose.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bets_protocol import Bet, ConfigError, InvalidMessage, Lot, StorageError, decode_bets, documents_with_number
from bets_server.store import BetStore, DrawState, SealOutcome, Verdict, path_of


def open_folder(url: str, *, draw: int, create: bool) -> FolderStore:
    """Open the store behind ``folder:///path``."""
    return FolderStore(path_of(url), draw, create=create)


class FolderStore(BetStore):
    """One draw of a folder with a JSON file in it."""

    def __init__(self, folder: Path, draw: int, *, create: bool) -> None:
        if create:
            folder.mkdir(exist_ok=True)
        elif not folder.exists():
            raise StorageError(f"{folder}: there is no such store")
        self._file = folder / "bets.json"
        self._draw = draw
        self._lock = threading.RLock()
        self._descriptor: int | None = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise StorageError(f"{folder}: another server has it open") from error
        self._draws: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    @property
    def _mine(self) -> dict[str, Any]:
        if self._descriptor is None:
            raise StorageError(f"{self._file}: the store is closed")
        mine: dict[str, Any] = self._draws.setdefault(str(self._draw), {"lots": [], "sealed": [], "number": None})
        return mine

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        with new.open("w") as file:
            json.dump(self._draws, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def append(self, batches: Sequence[Sequence[Lot]]) -> list[Verdict]:
        """Store a group of batches."""
        with self._lock:
            mine, verdicts = self._mine, []
            for batch in batches:
                if mine["number"] is not None:
                    verdicts.append(Verdict.DRAW_CLOSED)
                elif any(lot.agency in mine["sealed"] for lot in batch):
                    verdicts.append(Verdict.SEALED)
                else:
                    verdicts.append(Verdict.STORED)
                    mine["lots"] += [[lot.agency, lot.count, lot.encoded.hex()] for lot in batch]
            self._save()
            return verdicts

    def seal_and_draw(self, agency: int, *, expected: int, pick: Callable[[], int]) -> SealOutcome:
        """Seal an agency and draw where it was the last."""
        with self._lock:
            mine = self._mine
            if not 1 <= agency <= 255:
                raise InvalidMessage(f"{agency} is no agency", path="agency")
            if not 1 <= expected <= 255:
                raise ConfigError(f"{expected} agencies cannot be expected")
            if mine["number"] is not None:
                return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
            sealed = {*mine["sealed"], agency}
            newly_sealed, complete = agency not in mine["sealed"], sealed >= set(range(1, expected + 1))
            if complete:
                number = pick()
                if not 0 <= number <= 9999:
                    raise ConfigError(f"{number} cannot win")
                mine["number"] = number
            mine["sealed"] = sorted(sealed)
            self._save()
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, found anew each time."""
        with self._lock:
            mine = self._mine
            if mine["number"] is None:
                return None
            lots = [bytes.fromhex(encoded) for whose, _, encoded in mine["lots"] if whose == agency]
            return tuple(document for lot in lots for document in documents_with_number(lot, mine["number"]))

    def state(self) -> DrawState:
        """What is known of the draw."""
        with self._lock:
            mine = self._mine
            counts: Counter[int] = Counter()
            for agency, count, _ in mine["lots"]:
                counts[agency] += count
            return DrawState(
                draw=self._draw, number=mine["number"], sealed=frozenset(mine["sealed"]), bets_by_agency=dict(counts)
            )

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets."""
        for whose, _, encoded in list(self._mine["lots"]):
            if agency in {None, whose}:
                with self._lock:
                    _ = self._mine
                yield from decode_bets(bytes.fromhex(encoded))

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
