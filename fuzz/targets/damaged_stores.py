"""The files of a store after an accident: cut, changed, or grown by what does not belong there."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from bets_protocol import Bet, BetRun, StorageError, encode_bets
from bets_server.store import BetStore, Parcel, Verdict, open_store
from bets_server.store.csv.rows import bet_of

_NUMBER = 7574


def damage(data: bytes) -> None:
    """A `bets.csv` that was damaged is refused or opens. While its ledger is sound, each bet comes out of it once.

    The first byte says whether the store was closed or its program killed; the rest, what is damaged.
    """
    _try_damaged("csv", data[1:], killed=data[:1] > b"\x7f")


def book(data: bytes) -> None:
    """So is a SQLite book. It has no checksums: other bets may come out, and fewer, but whole ones."""
    _try_damaged("sqlite", data)


def _try_damaged(scheme: str, data: bytes, *, killed: bool = False) -> None:
    sound = _sound_files(scheme, killed=killed)
    files = _damaged(sound, data)
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        has_ledger = scheme == "csv" and all(files[file] == sound[file] for file in sound if file != "bets")
        rows = folder / "bets" if has_ledger else None
        _open_damaged(f"{scheme}:///{folder}/bets", changed=files != sound, rows=rows)


def _damaged(sound: dict[str, bytes], steps: bytes) -> dict[str, bytes]:
    """The files after some steps, each of which says which file, where, and what to do there."""
    names = sorted(sound)
    files = {name: bytearray(content) for name, content in sound.items()}
    while len(steps) >= 4:
        which, place, what = struct.unpack(">BHB", steps[:4])
        file = files[names[which % len(names)]]
        at = place % (len(file) + 1)
        size = what // 4 % 16
        match what % 4:
            case 0:
                del file[at:]
            case 1:
                file[at : at + size] = steps[4 : 4 + size]
            case 2:
                file[at:at] = steps[4 : 4 + size]
            case _:
                del file[at : at + size]
        steps = steps[4:] if what % 4 in (0, 3) else steps[4 + size :]
    return {name: bytes(content) for name, content in files.items()}


def _open_damaged(url: str, *, changed: bool, rows: Path | None) -> None:
    """Looks at the store, adds to it, looks again, and draws.

    Args:
        url: of the store.
        changed: whether its files are damaged.
        rows: the legacy file, if nothing else is damaged: then all bets come out, with those that were added to it.
    """
    checked = rows is not None
    try:
        with contextlib.closing(open_store(url, draw=1, create=False)) as store:
            before = _look_at(store, checked=checked)
            stored = store.commit([Parcel(runs=(_lot(50, 2, agency=3),))])[0].verdict is Verdict.STORED
        with contextlib.closing(open_store(url, draw=1, create=False)) as store:
            after = _look_at(store, checked=checked)
            for agency in range(1, 5):
                store.seal_and_draw(agency, expected=4, pick=lambda: _NUMBER, forced=True)
            winners = [document for agency in range(1, 256) for document in store.winners(agency) or ()]
    except StorageError:
        assert changed, "sound files were refused"
        return
    assert changed or stored, "the store of sound files took no bet"
    if rows is not None:
        assert sorted(after, key=str) == sorted([*before, *(_bets(50, 2, agency=3) if stored else [])], key=str)
        assert not Counter(_all_bets()) - Counter(before), "a bet that was acknowledged is gone"
        assert sorted(winners) == sorted(bet.document for bet in after if bet.number == _NUMBER), "a wrong draw"
        lines = [bet_of(line, "bets") for line in rows.read_bytes().splitlines()]
        assert Counter(lines) == Counter(after), "the file has other bets than the ledger"


def _look_at(store: BetStore, *, checked: bool) -> list[Bet]:
    """All that there is to see; gives the bets, whole ones."""
    state = store.state()
    bets = list(store.bets())
    store.uploads()
    list(store.audit())
    for agency in range(1, 5):
        store.winners(agency)
    assert all(isinstance(bet, Bet) for bet in bets)
    encode_bets(bets)
    if checked:
        counted = {agency: count for agency, count in state.bets_by_agency.items() if count}
        assert Counter(bet.agency for bet in bets) == counted, f"the store says {counted}, it gives {bets}"
    return bets


def _bets(first: int, count: int, *, agency: int) -> list[Bet]:
    return [
        Bet(
            agency=agency,
            first_name="Ñata" if row % 2 else 'A "B", C',
            last_name="Paz",
            document=f"{row:08d}",
            birthdate="1999-03-17",
            number=_NUMBER if row % 3 == 0 else row,
        )
        for row in range(first, first + count)
    ]


def _lot(first: int, count: int, *, agency: int) -> BetRun:
    return BetRun(agency=agency, count=count, encoded=encode_bets(_bets(first, count, agency=agency)))


_SENT = ((10, 4, 1), (20, 4, 2), (30, 3, 3), (40, 1, 4))
"""First row, how many, agency."""


def _all_bets() -> list[Bet]:
    return [bet for first, count, agency in _SENT for bet in _bets(first, count, agency=agency)]


@cache
def _sound_files(scheme: str, *, killed: bool) -> dict[str, bytes]:
    """The files of a store with an upload, another that is unfinished, bets without one, and a seal."""
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as name:
        folder = Path(name)
        url = f"{scheme}:///{folder}/bets"
        open_store(url, draw=1).close()
        # Without the room that it keeps free, so that every place can be named.
        with contextlib.closing(sqlite3.connect(folder / ("bets.ledger" if scheme == "csv" else "bets"))) as connection:
            connection.execute("VACUUM")
        with contextlib.closing(open_store(url, draw=1, create=False)) as store:
            for agency, total in ((1, 4), (2, 9)):
                ticket = store.open_upload(agency, bytes([agency]) * 16, total=total).ticket
                for first in (0, 2):
                    runs = (_lot(10 * agency + first, 2, agency=agency),)
                    store.commit([Parcel(runs=runs, ticket=ticket, first_row=first)])
            store.seal_and_draw(1, expected=5, pick=lambda: _NUMBER)
            store.commit([Parcel(runs=(_lot(30, 3, agency=3), _lot(40, 1, agency=4)))])
            if killed:
                return _read(folder)
        return _read(folder)


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
