"""The legacy `bets.csv`: the bytes of the file, lines of other programs, and what a killed program leaves."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import StorageError
from bets_server.store import DrawState, Parcel, StoreFull, Verdict, open_store
from bets_server.store._csv import CsvStore
from bets_server.store._files import GrowingFile
from bets_server.store.conformance import (
    WINNING,
    batch_of,
    documents,
    no_pick,
    rows_of,
    sample_batch,
    sample_bet,
    winning,
)
from tests.server.store.csv_files import event

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0

LEGACY = (
    b"1,Santiago Lionel,Lorca,30904465,1999-03-17,7574\r\n"
    b'2,"Ana ""la flaca""","P\xc3\xa1ez, h.",00000002,2000-02-29,0\r\n'
    b"1,Tiago Nicol\xc3\xa1s,Rivera,34407251,2001-08-29,1033\r\n"
)


# The bytes of the file


def test_the_file_is_what_the_legacy_server_wrote(path: Path, url: str, tmp_path: Path) -> None:
    """Byte for byte: CRLF, quotes where needed, no header; and its way of reading gives the bets back."""
    bets = [sample_bet(row, agency=row) for row in (1, 2, 255)]
    with open_store(url) as store:
        store.append([batch_of(bets)])
        store.append([batch_of(bets)])
    with (tmp_path / "legacy.csv").open("a+", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_MINIMAL)
        for bet in bets * 2:
            writer.writerow([bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate, bet.number])
    assert path.read_bytes() == (tmp_path / "legacy.csv").read_bytes()
    assert path.read_bytes().startswith(b'1,Tom\xc3\xa1s Agust\xc3\xadn,"O""Higgins, hijo",00000001,1999-03-17,1\r\n')
    with path.open(encoding="utf-8") as file:
        rows = list(csv.reader(file, quoting=csv.QUOTE_MINIMAL))
    assert [row[3] for row in rows] == documents(bets * 2)


def test_the_journal_can_be_read_by_anyone(path: Path, url: str, journal: Path) -> None:
    """Its events, one a line, in the order in which they came to pass."""
    first, second = sample_batch([1], number=WINNING), sample_batch([2], agency=2, number=1234)
    with open_store(url, draw=3) as store:
        store.append([first, second, first])
        store.seal_and_draw(2, expected=2, pick=no_pick)
        store.void(1, reason="sent twice")
        ticket = store.open_upload(1, bytes(range(16)), total=1).ticket
        store.commit([Parcel(ticket=ticket, lots=first)])
        store.seal_and_draw(1, expected=2, pick=winning)
    size = path.stat().st_size // 4
    digest = hashlib.sha256(second[0].encoded + first[0].encoded).hexdigest()
    times = re.compile(rb',"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"')
    events = [line[9:] for line in journal.read_bytes().splitlines()]
    assert [times.sub(b"", text) for text in events] == [
        b'{"event":"journal","of":"bets.csv","version":2}',
        b'{"event":"opened"}',
        b'{"event":"bets","draw":3,"length":%d,"runs":[[1,1,1,%d,0],[2,2,1,%d,0],[1,1,1,%d,0]]}'
        % (3 * size, size, size, size),
        b'{"event":"sealed","draw":3,"agency":2,"forced":false}',
        b'{"event":"void","draw":3,"upload":1,"agency":1,"stored":2,"reason":"sent twice"}',
        b'{"event":"upload","draw":3,"upload":3,"agency":1,"id":"000102030405060708090a0b0c0d0e0f","total":1,"epoch":1}',
        b'{"event":"bets","draw":3,"length":%d,"runs":[[3,1,1,%d,%d]]}'
        % (4 * size, size, zlib.crc32(first[0].encoded)),
        b'{"event":"drawn","draw":3,"agency":1,"sealed":true,"forced":false,"number":7574,'
        b'"winners":{"1":["00000001"]},"bets":2,"digest":"%s"}' % digest.encode(),
        b'{"event":"closed"}',
    ]
    assert sum(len(times.findall(text)) for text in events) == 6
    assert journal.read_bytes() == b"".join(event(text) for text in events)


def test_opening_writes_nothing(path: Path, url: str, journal: Path) -> None:
    """Not even for a server: the journal begins with the first thing to say."""
    open_store(url).close()
    with open_store(url) as store:
        assert store.append([]) == []
    assert (path.read_bytes(), journal.exists()) == (b"", False)


# Lines of other programs


def test_a_file_of_the_legacy_server_is_taken_whole(path: Path, url: str, journal: Path) -> None:
    """A reader sees it and leaves nothing behind; a server goes on after it."""
    path.write_bytes(LEGACY)
    for _ in range(2):
        with open_store(url, create=False) as store:
            assert store.state().bets_by_agency == {1: 2, 2: 1}
            assert [bet.first_name for bet in store.bets()] == ["Santiago Lionel", 'Ana "la flaca"', "Tiago Nicolás"]
    assert (path.read_bytes(), journal.exists()) == (LEGACY, False)
    with open_store(url) as store:
        store.append([sample_batch([5], number=WINNING)])
    with open_store(url) as store:
        store.seal_and_draw(1, expected=1, pick=winning)
        assert store.winners(1) == ("30904465", "00000005")
        assert store.winners(2) == ()
    assert path.read_bytes().startswith(LEGACY)


def test_a_draw_over_a_file_of_the_legacy_server(path: Path, url: str) -> None:
    """Taken lines count without any bet of our own."""
    path.write_bytes(LEGACY)
    with open_store(url) as store:
        store.seal_and_draw(1, expected=1, pick=winning)
    with open_store(url) as store:
        assert store.winners(1) == ("30904465",)
        assert store.state().bets_by_agency == {1: 2, 2: 1}


def test_lf_alone_ends_a_line_too(path: Path, url: str) -> None:
    """Some editors leave it so."""
    path.write_bytes(LEGACY.replace(b"\r\n", b"\n"))
    with open_store(url) as store:
        assert store.state().bets_by_agency == {1: 2, 2: 1}


def test_lines_added_between_two_servers_are_taken(path: Path, url: str) -> None:
    """By the draw that is open then."""
    with open_store(url, draw=1) as store:
        store.append([sample_batch([1])])
    with path.open("ab") as file:
        file.write(LEGACY)
    with open_store(url, draw=2) as store:
        assert documents(store.bets()) == ["30904465", "00000002", "34407251"]
        store.append([sample_batch([5])])
    with open_store(url, draw=1) as store:
        assert documents(store.bets()) == rows_of(1)
    with open_store(url, draw=2) as store:
        assert documents(store.bets(1)) == ["30904465", "34407251", "00000005"]


def test_lines_added_after_the_draw_are_an_error(path: Path, url: str) -> None:
    """They cannot take part any more; another draw takes them."""
    with open_store(url) as store:
        store.append([sample_batch([1, 2])])
        store.seal_and_draw(1, expected=1, pick=winning)
    with path.open("ab") as file:
        file.write(LEGACY)
    for create in (True, False):
        with pytest.raises(StorageError, match=rf"^{path}:3: was added after draw 1, which is over$"):
            open_store(url, create=create)
    with open_store(url, draw=2) as store:
        assert store.state().bets_by_agency == {1: 2, 2: 1}
        store.append([sample_batch([1])])
    with open_store(url, draw=1) as store:
        assert store.state().bets_by_agency == {1: 2}


BET = b"1,Ana,Paz,30904465,1999-03-17,7574"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"1,Ana,Paz,30904465,1999-03-17", "5 fields, expected 6: agency, first_name, last_name, document, birthdate"),
        (BET + b",x", "7 fields, expected 6"),
        (b"", "0 fields, expected 6"),
        (b"agency,first_name,last_name,document,birthdate,number", "agency: 'agency' is not a number"),
        (b" 1,Ana,Paz,30904465,1999-03-17,7574", "agency: ' 1' is not a number of at most four digits"),
        (b"0,Ana,Paz,30904465,1999-03-17,7574", "agency: "),
        (b"256,Ana,Paz,30904465,1999-03-17,7574", "agency: "),
        (b"1,,Paz,30904465,1999-03-17,7574", "first_name: "),
        (b"1,Ana," + b"x" * 256 + b",30904465,1999-03-17,7574", "last_name: "),
        (b"1,A\0na,Paz,30904465,1999-03-17,7574", "(first_name: |not a line of CSV: )"),
        (b"1,Ana,Paz,3090446,1999-03-17,7574", "document: "),
        (b"1,Ana,Paz,30904465,1999-02-30,7574", "birthdate: "),
        (b"1,Ana,Paz,30904465,2020-W01-1,7574", "birthdate: "),
        (b"1,Ana,Paz,30904465,1999-03-17,10000", "number: '10000' is not a number of at most four digits"),
        ("1,Ana,Paz,30904465,1999-03-17,٣".encode(), "number: '٣' is not a number"),
        (b"1,Ana,Paz,30904465,1999-03-17,1_0", "number: '1_0' is not a number"),
        (b"1,A\xf1a,Paz,30904465,1999-03-17,7574", "not UTF-8 at byte 3 of the line"),
        (b'1,"Ana,Paz,30904465,1999-03-17,7574', "not a line of CSV: "),
        (b"x" * 70_000, "longer than 4096 bytes: not a bet"),
    ],
)
def test_a_line_that_is_no_bet_is_told(path: Path, url: str, journal: Path, line: bytes, says: str) -> None:
    """With its file, its number, its field; and nothing is changed."""
    content = LEGACY + line + b"\r\n" + BET + b"\r\n"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"^{path}:4: {says.replace('four', '4')}"):
        open_store(url)
    assert (path.read_bytes(), journal.exists()) == (content, False)


def test_a_last_line_without_an_end_is_told(path: Path, url: str) -> None:
    """A number may have been cut in it: 757 is not 7574."""
    path.write_bytes(LEGACY + BET[:-1])
    with pytest.raises(StorageError, match=rf"^{path}:4: the last line has no end$"):
        open_store(url)


def test_a_line_that_another_program_changed_is_told(path: Path, url: str) -> None:
    """When it is read, with its number in the file, wherever in the file its draw begins."""
    for draw in (1, 2):
        with open_store(url, draw=draw) as store:
            store.append([sample_batch([1, 2]), sample_batch([3])])
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"x\r\n")
    with open_store(url, draw=2) as store:
        with pytest.raises(StorageError, match=rf"^{path}:6: number: 'x' is not a number"):
            store.seal_and_draw(1, expected=1, pick=winning)
        with pytest.raises(StorageError, match="the store has failed"):
            store.state()


def test_a_file_that_became_shorter_is_told(path: Path, url: str) -> None:
    """When it is opened, and when it happens while the bets are walked."""
    with open_store(url) as store:
        store.append([sample_batch(range(5000))])
        walk = store.bets()
        next(walk)
        os.truncate(path, 100_000)
        with pytest.raises(StorageError, match=rf"^{path}:\d+: the file has become shorter$"):
            list(walk)
    with pytest.raises(StorageError, match=rf"^{path}: has 100000 bytes, but \d+ were stored: bets are missing$"):
        open_store(url)


def test_a_file_that_is_missing_beside_its_journal_is_told(path: Path, url: str, journal: Path) -> None:
    """And no empty one takes its place."""
    with open_store(url) as store:
        store.append([sample_batch([1])])
    path.unlink()
    with pytest.raises(StorageError, match=rf"^{path}: is missing, though its journal {journal} is there$"):
        open_store(url)
    assert not path.exists()


# What a killed program leaves


def test_a_group_cut_at_any_byte_counts_not_at_all(tmp_path: Path, path: Path, url: str, journal: Path) -> None:
    """What is whole before it counts, and the next group takes its place, also when that is shorter."""
    with open_store(url) as store:
        store.append([sample_batch([1])])
        first = (path.read_bytes(), journal.read_bytes())
        store.append([sample_batch([2, 3]), sample_batch([4], agency=2)])
        second = (path.read_bytes(), journal.read_bytes())
    cuts: list[tuple[int, int]] = [(end, len(first[1])) for end in range(len(first[0]), len(second[0]) + 1)]
    cuts += [(len(second[0]), end) for end in range(len(first[1]), len(second[1]))]
    for number, (rows_end, journal_end) in enumerate(cuts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "bets.csv").write_bytes(second[0][:rows_end])
        (folder / "bets.csv.journal").write_bytes(second[1][:journal_end])
        for create in (False, True):
            with open_store(f"csv:///{folder}/bets.csv", create=create) as store:
                assert documents(store.bets()) == rows_of(1)
        with open_store(f"csv:///{folder}/bets.csv") as store:
            assert store.append([sample_batch([9])]) == [Verdict.STORED]
        with open_store(f"csv:///{folder}/bets.csv") as store:
            assert documents(store.bets()) == rows_of(1, 9)
            assert store.state().bets_by_agency == {1: 2}
        shutil.rmtree(folder)


def test_a_journal_cut_at_any_byte_of_its_beginning(path: Path, url: str, journal: Path) -> None:
    """Killed at its very first write, also by a power cut that left zeros: nothing was stored."""
    with open_store(url) as store:
        store.append([sample_batch([1])])
    beginning = b"".join(journal.read_bytes().splitlines(keepends=True)[:2])
    for rest in [*(beginning[:end] for end in range(len(beginning))), bytes(100)]:
        path.write_bytes(LEGACY)
        journal.write_bytes(rest)
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 2, 2: 1}
            store.append([sample_batch([9])])
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 3, 2: 1}


def test_lines_of_the_legacy_server_survive_a_first_write_that_was_cut(path: Path, url: str, journal: Path) -> None:
    """At whichever byte: they are never taken for the remains of our own."""
    path.write_bytes(LEGACY)
    with open_store(url) as store:
        store.append([sample_batch([1])])
    first_write = b"".join(journal.read_bytes().splitlines(keepends=True)[:3])
    assert first_write.endswith(event(b'{"event":"opened"}'))
    for end in range(len(first_write) + 1):
        path.write_bytes(LEGACY)
        journal.write_bytes(first_write[:end])
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 2, 2: 1}
            store.append([sample_batch([9])])
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 3, 2: 1}


def test_a_last_event_that_is_not_whole_does_not_count(url: str, journal: Path) -> None:
    """Though its line has an end: a power cut may lose any part of what was not flushed."""
    with open_store(url) as store:
        store.append([sample_batch([1])])
        whole = journal.read_bytes()
        store.seal_and_draw(1, expected=2, pick=no_pick)
    journal.write_bytes(whole + bytes(500) + b"\n")
    with open_store(url) as store:
        assert store.state() == DrawState(draw=1, number=None, sealed=frozenset(), bets_by_agency={1: 1})
        store.append([sample_batch([2])])
    assert b"\0" not in journal.read_bytes()
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(1, 2)


# Journals that are none


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"shopping list", "is not the journal of a store"),
        (b"milk\n", "is not the journal of a store"),
        (b"milk\nbread\n", "1: the line is damaged"),
        (b"milk\nbread", "1: the line is damaged"),
        (event(b'{"event":"opened"}'), "1: the line is damaged"),
        (event(b'{"event":"journal","of":"bets.csv","version":3}'), "1: is not a journal of version 2: .*'version': 3"),
        (event(b'{"event":"journal","of":"bets.csv","version":1}') * 2, "2: the line is damaged"),
        (
            event(b'{"event":"journal","of":"bets.csv","version":1}') + b"x\n" + event(b'{"event":"closed"}'),
            "2: the line is damaged",
        ),
    ],
)
def test_a_journal_that_is_none_is_left_alone(path: Path, url: str, journal: Path, content: bytes, says: str) -> None:
    """The error says which line, and nothing is changed."""
    path.write_bytes(LEGACY)
    journal.write_bytes(content)
    with pytest.raises(StorageError, match=rf"^{journal}:[ ]?{says}"):
        open_store(url)
    assert (path.read_bytes(), journal.read_bytes()) == (LEGACY, content)


# No room, and disks that fail


LIMITED = """
import resource, signal, sys
from bets_server.store import StoreFull, open_store
from tests.server.store.appender import bet, lots_of
sample_batch = lambda rows: lots_of(bet(row) for row in rows)
url, limit, bets_in_batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
with open_store(url) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    stored = 0
    for _ in range(1000):
        try:
            store.append([sample_batch(range(bets_in_batch))])
        except StoreFull as error:
            break
        stored += bets_in_batch
    assert store.state().bets_by_agency == {1: stored}, store.state()
    try:
        store.append([sample_batch(range(bets_in_batch + 5))])
    except StoreFull as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    store.append([sample_batch([77777777])])
    print(stored)
"""


@pytest.mark.parametrize(("bets_in_batch", "full"), [(100, "bets.csv"), (1, "bets.csv.journal")])
def test_a_full_store_refuses_and_goes_on(path: Path, url: str, bets_in_batch: int, full: str) -> None:
    """Whichever of its files finds no room: nothing of the group is stored, and with room again it goes on."""
    command = [sys.executable, "-c", LIMITED, url, "20000", str(bets_in_batch)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.stderr == ""
    said, stored = done.stdout.splitlines()
    assert said == f"{path.with_name(full)}: cannot write: File too large"
    with open_store(url) as store:
        expected = rows_of(*range(bets_in_batch)) * (int(stored) // bets_in_batch)
        assert documents(store.bets()) == [*expected, "77777777"]


@pytest.mark.parametrize(
    ("device", "says"), [("/dev/null", "cannot flush to disk: Invalid"), ("/dev/full", "cannot cut the file: Invalid")]
)
def test_a_file_whose_disk_fails_says_so(device: str, says: str) -> None:
    """A flush that fails, and a write that finds no room and cannot be undone, leave nobody knows what."""
    file = GrowingFile(Path(device), create=False)
    try:
        with pytest.raises(StorageError, match=f"^{device}: {says}") as raised:
            file.append(b"x")
        assert not isinstance(raised.value, StoreFull)
        assert file.length == 0
    finally:
        file.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.append([sample_batch([1])]),
        lambda store: store.seal_and_draw(1, expected=1, pick=winning),
    ],
)
def test_a_store_whose_disk_fails_stops(path: Path, journal: Path, call: Callable[[CsvStore], object]) -> None:
    """Nobody is answered, and nothing but closing works from then on."""
    path.touch()
    journal.symlink_to("/dev/null")
    store = CsvStore(path)
    with pytest.raises(StorageError, match=rf"^{journal}: cannot flush to disk"):
        call(store)
    for _ in range(2):
        with pytest.raises(StorageError, match=rf"^{path}: the store has failed: {journal}: cannot flush"):
            store.append([sample_batch([1])])
    store.close()
    with pytest.raises(StorageError, match="the store has failed"):
        store.state()
