"""The files of a store after an accident: cut, changed, or grown by what does not belong there."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import tempfile
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

from bets_protocol import Bet, Lot, StorageError, encode_bets
from bets_server.store import BetStore, Parcel, Verdict, open_store


def damage(data: bytes) -> None:
    """A `bets.csv` and a journal that were damaged are refused or open; no part of a bet ever comes out of them."""
    _try_damaged("csv", data)


def book(data: bytes) -> None:
    """So is a SQLite book. It has no checksums: other bets may come out, and fewer, but whole ones."""
    _try_damaged("sqlite", data)


def _try_damaged(scheme: str, data: bytes) -> None:
    sound = _sound_files(scheme)
    files = _damaged(sound, data)
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        known = scheme == "csv" and _is_told_by_checksums(files, sound)
        _open_damaged(f"{scheme}:///{folder}/bets", changed=files != sound, checked=known)


def _is_told_by_checksums(files: dict[str, bytes], sound: dict[str, bytes]) -> bool:
    """Whether the journal can know: not of rows changed in their place, nor of events with a checksum of their own."""
    events = [line for line in files["bets.journal"].split(b"\n") if line[:9] == b"%08x " % zlib.crc32(line[9:])]
    return set(events) <= set(sound["bets.journal"].split(b"\n")) and all(
        a == b for a, b in zip(files["bets"], sound["bets"], strict=False)
    )


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


def _open_damaged(url: str, *, changed: bool, checked: bool) -> None:
    """Looks at the store, adds to it, and looks again; one that is `checked` has as many bets as it says."""
    try:
        with contextlib.closing(open_store(url, draw=1, create=False)) as store:
            before = _look_at(store, checked=checked)
            stored = store.commit([Parcel(lots=(_lot(50, 2, agency=3),))])[0].verdict is Verdict.STORED
        with contextlib.closing(open_store(url, draw=1, create=False)) as store:
            after = _look_at(store, checked=checked)
    except StorageError:
        assert changed, "sound files were refused"
        return
    assert changed or stored, "the store of sound files took no bet"
    if checked:
        assert sorted(after, key=str) == sorted([*before, *(_bets(50, 2, agency=3) if stored else [])], key=str)


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
            number=7574 if row % 3 == 0 else row,
        )
        for row in range(first, first + count)
    ]


def _lot(first: int, count: int, *, agency: int) -> Lot:
    return Lot(agency=agency, count=count, encoded=encode_bets(_bets(first, count, agency=agency)))


@cache
def _sound_files(scheme: str) -> dict[str, bytes]:
    """The files of a store with an upload, another that is unfinished, bets without one, and a seal."""
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as folder:
        with contextlib.closing(open_store(f"{scheme}:///{folder}/bets", draw=1)) as store:
            for agency, total in ((1, 4), (2, 9)):
                ticket = store.open_upload(agency, bytes([agency]) * 16, total=total).ticket
                for first in (0, 2):
                    lots = (_lot(10 * agency + first, 2, agency=agency),)
                    store.commit([Parcel(lots=lots, ticket=ticket, first_row=first)])
            store.commit([Parcel(lots=(_lot(30, 3, agency=3), _lot(40, 1, agency=4)))])
            store.seal_and_draw(1, expected=5, pick=lambda: 7574)
        if scheme == "sqlite":  # without the room that it keeps free, so that every place can be named
            with contextlib.closing(sqlite3.connect(Path(folder) / "bets")) as connection:
                connection.execute("VACUUM")
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
