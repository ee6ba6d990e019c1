"""A `bets.csv` and its ledger after accidents: killed programs, power cuts, changed lines, files that moved."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from bets_protocol import StorageError
from bets_server.store import BetStore, open_store
from bets_server.store.conformance.samples import (
    WINNING,
    append_to,
    batch_of,
    documents,
    opened,
    part,
    rows_of,
    sample_batch,
    sample_bet,
    winning,
)
from bets_server.store.csv.rows import lines_of
from tests.server.store.csv_files import copied, files_in, lines_of_store

OTHERS = b"7,Ana,Paz,30904465,1999-03-17,7574\r\n8,Ana,Paz,00000002,2000-02-29,0\r\n"


@attrs.frozen
class Killed:
    """A store whose program was killed after a group that its ledger does not say is in the file.

    Attributes:
        folder: where its files are.
        before: the bytes that are accounted for.
        group: those of the last group.
    """

    folder: Path
    before: bytes
    group: bytes

    def store(self, content: bytes, *, draw: int = 1) -> BetStore:
        """The store opened with that content of the file, and with the ledger as it was left."""
        for name, saved in files_in(self.folder).items():
            (self.path.parent / name).write_bytes(saved)
        self.path.write_bytes(content)
        return open_store(f"csv:///{self.path}", draw=draw, create=False)

    @property
    def path(self) -> Path:
        """Of the file that is opened."""
        work = self.folder.with_name("work")
        work.mkdir(exist_ok=True)
        return work / "bets.csv"


def small(ledger: Path) -> None:
    """Without the room that the ledger keeps free, so that it is copied quickly."""
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        connection.execute("VACUUM")


@pytest.fixture
def killed(path: Path, url: str, ledger: Path, tmp_path: Path) -> Killed:
    """Killed after the third group, of three bets in two batches."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    small(ledger)
    with open_store(url, create=False) as store:
        append_to(store, [sample_batch([2, 3]), sample_batch([4], agency=2)])
        before = path.read_bytes()
        append_to(store, [sample_batch([5, 6]), sample_batch([7], agency=2)])
        copied(path.parent, tmp_path / "killed")
    return Killed(folder=tmp_path / "killed", before=before, group=path.read_bytes().removeprefix(before))


# Killed, without power


def test_a_file_cut_at_any_byte_of_the_last_group_is_completed(killed: Killed) -> None:
    """Whether nothing, a part or all of the group had been written: each bet is there once, and the store goes on."""
    for end in range(len(killed.group) + 1):
        with killed.store(killed.before + killed.group[:end]) as store:
            assert killed.path.read_bytes() == killed.before + killed.group
            assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5, 6, 7)
            if end % 16 == 0:
                append_to(store, [sample_batch([9])])
        if end % 16 == 0:
            with open_store(f"csv:///{killed.path}", create=False) as store:
                assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5, 6, 7, 9)
                assert killed.path.read_bytes() == lines_of_store(store)


def test_zeros_of_a_power_cut_are_filled(killed: Killed) -> None:
    """Wherever they are in what was not flushed, and whether the file's end is there or not."""
    source = random.Random(3)
    for _ in range(60):
        torn = bytearray(killed.group[: source.choice([len(killed.group), source.randrange(len(killed.group))])])
        for _ in range(source.randint(1, 3)):
            start, end = sorted(source.choices(range(len(torn) + 1), k=2))
            torn[start:end] = bytes(end - start)
        with killed.store(killed.before + torn) as store:
            assert killed.path.read_bytes() == killed.before + killed.group == lines_of_store(store)


def test_zeros_elsewhere_are_told(killed: Killed) -> None:
    """In what was flushed no power cut leaves any; nor may other lines follow them."""
    content = bytearray(killed.before)
    content[3:9] = bytes(6)
    with pytest.raises(StorageError, match=rf"^{killed.path}:1: .*put the file back"):
        killed.store(bytes(content) + killed.group)
    with pytest.raises(StorageError, match=rf"^{killed.path}:5: .*put the file back"):
        killed.store(killed.before + bytes(9) + killed.group[9:] + OTHERS)


@pytest.mark.parametrize("written", [True, False])
def test_lines_added_after_a_kill_are_told_from_the_remains(killed: Killed, *, written: bool) -> None:
    """Whether the last group was written before them or not; no bet is in the file twice, and all are stored once."""
    content = killed.before + (killed.group if written else b"") + OTHERS
    whole = content if written else content + killed.group
    expected = sorted([*rows_of(1, 2, 3, 4, 5, 6, 7), "30904465", "00000002"])
    with killed.store(content) as store:
        assert killed.path.read_bytes() == whole
        assert sorted(documents(store.bets())) == expected
        assert documents(store.bets(7)) == ["30904465"]
        assert [upload.agency for upload in store.uploads()] == [1, 2, 7, 8]
    for _ in range(2):
        with open_store(f"csv:///{killed.path}") as store:
            assert (killed.path.read_bytes(), sorted(documents(store.bets()))) == (whole, expected)
    with killed.path.open("ab") as file:
        file.write(OTHERS)
    with open_store(f"csv:///{killed.path}") as store:
        append_to(store, [sample_batch([9], agency=9)])
        assert store.state().bets_by_agency == {1: 5, 2: 2, 7: 2, 8: 2, 9: 1}
    whole = killed.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        killed.path.write_bytes(b"".join(lines[: number - 1]) + line[:1] + b"1" + line[1:] + b"".join(lines[number:]))
        with pytest.raises(StorageError, match=rf"^{killed.path}:{number}: agency"):
            open_store(f"csv:///{killed.path}")
    killed.path.write_bytes(whole)
    open_store(f"csv:///{killed.path}").close()


def test_lines_added_after_a_kill_must_be_bets(killed: Killed) -> None:
    """A line that was cut by the kill and gone on with by another program is none; nothing is taken."""
    with pytest.raises(StorageError, match=rf"^{killed.path}:5: 7 fields, expected 6"):
        killed.store(killed.before + killed.group[:9] + OTHERS)
    with pytest.raises(StorageError, match=rf"^{killed.path}:6: 1 fields, expected 6"):
        killed.store(killed.before + OTHERS[:36] + b"x\r\n")
    with killed.store(killed.before) as store:
        assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5, 6, 7)


def test_a_last_group_that_was_changed_is_no_new_lines(killed: Killed) -> None:
    """A field, a line, the order: told with the line, though the ledger does not say that it was written."""
    one, two, three = killed.group.splitlines(keepends=True)
    for changed, line in [
        (one.replace(b",1\r", b",6\r") + two + three, 5),
        (one + two.replace(b"1,", b"3,", 1) + three, 6),
        (one + two + three.replace(b"00000007", b"00000009"), 7),
        (two + three, 5),
        (two + one + three, 5),
        (three, 5),
        (one + three, 6),
        (one + two + three[:-2] + b"\n", 7),
        (one + OTHERS, 6),
    ]:
        with pytest.raises(StorageError, match=rf"^{killed.path}:{line}: .*put the file back as it was") as raised:
            killed.store(killed.before + changed)
        assert killed.path.read_bytes() == killed.before + changed
        assert "Tom" not in str(raised.value), "names do not belong in a log"


def test_a_killed_store_without_any_word_of_the_file(path: Path, url: str, ledger: Path, tmp_path: Path) -> None:
    """Killed before the second group: nothing is accounted for, and the file is what the ledger says, or empty."""
    open_store(url).close()
    small(ledger)
    with open_store(url, create=False) as store:
        append_to(store, [sample_batch([1, 2])])
        copied(path.parent, tmp_path / "killed")
    killed = Killed(folder=tmp_path / "killed", before=b"", group=path.read_bytes())
    for content in (killed.group, killed.group[:30], b""):
        with killed.store(content) as store:
            assert killed.path.read_bytes() == killed.group == lines_of_store(store)


# Changed, cut, missing


def test_a_line_that_was_changed_or_cut_is_told(path: Path, url: str) -> None:
    """Each one, with its number, what was written and what is there; nothing is touched; put back, all is well."""
    bets = [sample_bet(row, agency=1 + row % 2, number=row) for row in range(1, 7)]
    with open_store(url) as store:
        append_to(store, [batch_of(bets[:4])])
        append_to(store, [batch_of(bets[4:])])
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, (line, bet) in enumerate(zip(lines, bets, strict=True), start=1):
        changes = [
            (lines_of([attrs.evolve(bet, number=9)]), f"number is 9, and {bet.number} was written"),
            (lines_of([attrs.evolve(bet, agency=9)]), f"agency is 9, and {bet.agency} was written"),
            (lines_of([attrs.evolve(bet, document="99999999")]), "document is not the one that was written"),
            (line[:-2] + b"\n", "is not, byte for byte, the line that was written"),
            (b"x" + line, "agency: 'x[12]' is not a number"),
            (b"", "the file ends before this line" if number == 6 else "(agency|number|document) is "),
            (b"\n", "0 fields, expected 6"),
            (OTHERS + line, "agency is 7, and "),
        ]
        for change, said in changes:
            content = b"".join(lines[: number - 1]) + change + b"".join(lines[number:])
            path.write_bytes(content)
            with pytest.raises(
                StorageError, match=rf"^{path}:{number}: {said}.*: put the file back as it was\. Every b"
            ):
                open_store(url)
            assert path.read_bytes() == content
    path.write_bytes(whole)
    with open_store(url) as store:
        assert lines_of_store(store) == whole


@pytest.mark.parametrize("end", [0, 1, 100, -1])
def test_a_shorter_file_is_told(path: Path, url: str, ledger: Path, end: int) -> None:
    """An empty one as well; and the advice works."""
    with open_store(url) as store:
        append_to(store, [sample_batch(range(50))])
    os.truncate(path, end % path.stat().st_size)
    with pytest.raises(StorageError, match=rf"^{path}:\d+: .* --store sqlite:///{ledger}$"):
        open_store(url)
    with open_store(f"sqlite:///{ledger}", create=False) as store:
        assert documents(store.bets()) == rows_of(*range(50))


def test_a_line_of_another_program_that_was_rewritten_is_told(path: Path, url: str) -> None:
    """The ledger does not know its bytes, but that they are others; its number where it says something else."""
    path.write_bytes(OTHERS)
    open_store(url).close()
    path.write_bytes(OTHERS.replace(b"\r\n", b"\n"))
    with pytest.raises(
        StorageError, match=rf"^{path}: its first 2 lines are not, byte for byte, those that were there: "
    ):
        open_store(url)
    path.write_bytes(OTHERS.replace(b",0\r", b",1\r"))
    with pytest.raises(StorageError, match=rf"^{path}:2: number is 1, and 0 was written: put the file back"):
        open_store(url)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_missing_beside_its_ledger_is_told(path: Path, url: str, ledger: Path, *, create: bool) -> None:
    """And no empty one takes its place."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    path.unlink()
    with pytest.raises(
        StorageError, match=rf"^{path}: is missing, though its ledger {ledger} is there: put the file back"
    ):
        open_store(url, create=create)
    assert not path.exists()


def test_a_ledger_that_cannot_be_one_is_told(path: Path, url: str, ledger: Path) -> None:
    """And no empty legacy file stays behind; a damaged table of it likewise."""
    ledger.write_bytes(b"no database, but something else" * 100)
    path.touch()
    with pytest.raises(StorageError, match=rf"^{ledger}: is not a SQLite database"):
        open_store(url)
    ledger.unlink()
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    for statement in ("UPDATE legacy_file SET batch = 2", "DELETE FROM legacy_file"):
        with contextlib.closing(sqlite3.connect(ledger)) as connection, connection:
            connection.execute(statement)
        with pytest.raises(StorageError, match=rf"^{ledger}: is damaged: its table legacy_file says what cannot be"):
            open_store(url)


# Files that move while the store is open


def moved(path: Path) -> None:
    path.rename(path.with_name("week.csv"))


def replaced(path: Path) -> None:
    moved(path)
    path.write_bytes(path.with_name("week.csv").read_bytes())


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("week"))
    path.parent.mkdir()


def linked(path: Path) -> None:
    path.with_name("week.csv").hardlink_to(path)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(OTHERS)


ACCIDENTS: list[Callable[[Path], object]] = [moved, replaced, folder_moved, linked, Path.unlink, appended]


@contextlib.contextmanager
def in_a_folder(folder: Path) -> Iterator[tuple[Path, BetStore]]:
    """An open store with a bet, in a folder that may be moved."""
    path = folder / "store" / "bets.csv"
    path.parent.mkdir()
    with contextlib.closing(open_store(f"csv:///{path}")) as store:
        append_to(store, [sample_batch([1])])
        yield path, store


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize(
    "call",
    [
        lambda store: append_to(store, [sample_batch([2])]),
        lambda store: opened(store, agency=3, total=3),
        lambda store: store.seal_and_draw(1, expected=1, pick=winning),
        lambda store: store.void(1, reason="sent twice"),
    ],
)
def test_a_file_that_moves_ends_the_store(
    tmp_path: Path, accident: Callable[[Path], object], call: Callable[[BetStore], object]
) -> None:
    """Before anything more is acknowledged; nothing but closing works from then on."""
    with in_a_folder(tmp_path) as (path, store):
        accident(path)
        if accident is appended:
            call = lambda store: append_to(store, [sample_batch([2])])  # noqa: E731 - others do not touch the file
        with pytest.raises(StorageError, match=rf"^{path.parent}"):
            call(store)
        for _ in range(2):
            with pytest.raises(StorageError, match="the store has failed: "):
                append_to(store, [sample_batch([1])])


def test_a_file_with_a_second_name_is_refused(path: Path, url: str, tmp_path: Path) -> None:
    """By either of them: each would have a ledger of its own. No ledger is made."""
    path.write_bytes(OTHERS)
    linked(path)
    for name in ("bets.csv", "week.csv"):
        with pytest.raises(StorageError, match=rf"^{tmp_path}/{name}: has 2 names \(hard links\)"):
            open_store(f"csv:///{tmp_path}/{name}")
    assert files_in(tmp_path).keys() == {"bets.csv", "week.csv"}
    (tmp_path / "week.csv").unlink()
    open_store(url).close()


def test_lines_of_a_program_that_ran_beside_the_server_are_taken_by_the_next(path: Path, url: str) -> None:
    """They ended that server; none of them, and no bet of the server, is lost."""
    with contextlib.closing(open_store(url)) as store:
        append_to(store, [sample_batch([1])])
        appended(path)
        with pytest.raises(StorageError, match=rf"^{path}: has \d+ bytes instead of \d+: another program has written"):
            append_to(store, [sample_batch([2])])
    with open_store(url) as store:
        assert documents(store.bets()) == [*rows_of(1), "30904465", "00000002"]
        assert path.read_bytes() == lines_of_store(store)


def test_the_draw_goes_by_the_ledger(path: Path, url: str) -> None:
    """Whatever happens to the content of the file meanwhile; the next start tells it."""
    with open_store(url) as store:
        ticket = opened(store, total=2)
        store.commit([part(ticket, [0, 1], number=WINNING)])
        content = path.read_bytes()
        path.write_bytes(content.replace(b"00000000", b"00000009"))
        assert store.seal_and_draw(1, expected=1, pick=winning).drawn_now
        assert store.winners(1) == tuple(rows_of(0, 1))
    with pytest.raises(StorageError, match=rf"^{path}:1: document is not the one that was written"):
        open_store(url)
