"""A book that is not whole, or not where it was: told when it is opened, or before anything more is acknowledged.

Whatever is refused is left as it was, down to the last byte.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import StorageError
from bets_server.store import BetStore, Verdict, open_store
from bets_server.store.conformance.samples import WINNING, append_to, documents, rows_of, sample_batch, winning
from bets_server.store.sqlite import log as sqlite_log
from tests.e2e.processes import unmeasured_environment
from tests.server.store.mounts import may_mount

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0

# Stores one bet a group, `argv[2]` of them, and is killed; the store makes its checkpoints on the way.
KILLED = """
import os, signal, sys
from bets_server.store import open_store
from bets_server.store.sqlite import file as sqlite_file
from bets_server.store.conformance.samples import append_to, sample_batch
sqlite_file._PAGES_BEFORE_CHECKPOINT = int(sys.argv[3])
store = open_store(f"sqlite:///{sys.argv[1]}")
for row in range(int(sys.argv[2])):
    append_to(store, [sample_batch([row])])
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path, groups: int, *, pages: int = 1000) -> None:
    """Leaves what a server leaves that was killed when it had stored some groups."""
    command = [sys.executable, "-c", KILLED, str(path), str(groups), str(pages)]
    done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False)
    assert done.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder: Path, says: str, *, path: str = "bets.db") -> None:
    """Nobody may open the book, neither to write nor to read, and nothing in its folder changes."""
    before = contents(folder)
    for create, readonly in [(True, False), (False, False), (False, True)]:
        if (folder / path).exists() or create:
            with pytest.raises(StorageError, match=says):
                open_store(f"sqlite:///{folder / path}", create=create, readonly=readonly)
            assert contents(folder) == before


def stored(path: Path, *, readonly: bool = False) -> list[str]:
    """The documents of a book."""
    with open_store(f"sqlite:///{path}", create=False, readonly=readonly) as store:
        return documents(store.bets())


@pytest.mark.parametrize("part", ["-wal", "-journal"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_main_file_that_is_gone_is_not_made_anew(tmp_path: Path, part: str, *, empty: bool) -> None:
    """Its log holds bets that were acknowledged: SQLite would throw it away."""
    path = tmp_path / "bets.db"
    killed(path, 5)
    path.rename(tmp_path / "elsewhere")
    if part != "-wal":
        (tmp_path / "bets.db-wal").rename(tmp_path / f"bets.db{part}")
    if empty:
        path.touch()
    refused(tmp_path, rf"bets.db: is {'empty' if empty else 'missing'}, but .*bets.db{part} holds a part of it: put")
    (tmp_path / "elsewhere").replace(path)
    if part == "-wal":
        assert stored(path) == rows_of(*range(5))


def test_a_main_file_without_tables_is_not_one_that_lacks_its_log(tmp_path: Path) -> None:
    """Such as a tool leaves that was pointed at the name while the book lay elsewhere."""
    path = tmp_path / "bets.db"
    killed(path, 5)
    log = (tmp_path / "bets.db-wal").read_bytes()
    path.unlink()
    sqlite3.connect(path).execute("VACUUM").connection.close()
    (tmp_path / "bets.db-wal").write_bytes(log)  # which SQLite has deleted
    refused(tmp_path, r"bets.db: is empty, but .*-wal holds a part of it")


@pytest.mark.parametrize("groups", [0, 1, 40])
def test_a_copy_of_the_main_file_alone_is_not_whole(tmp_path: Path, groups: int) -> None:
    """As `cp bets.db` makes one while a server runs: it passes SQLite's check of integrity, and lacks bets."""
    path, copy = tmp_path / "bets.db", tmp_path / "copy"
    killed(path, groups, pages=100)
    copy.mkdir()
    shutil.copy(path, copy)
    with sqlite3.connect(copy / "bets.db") as book:
        assert book.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    book.close()
    for leftover in copy.glob("bets.db-*"):
        leftover.unlink()
    refused(copy, r"bets.db: is not whole without bets.db-wal, which is missing or empty: put that file back")
    (copy / "bets.db-wal").touch()
    refused(copy, r"bets.db: is not whole without bets.db-wal")
    shutil.copy(tmp_path / "bets.db-wal", copy)
    assert stored(copy / "bets.db") == rows_of(*range(groups))


def test_a_book_that_was_closed_is_whole_by_itself(tmp_path: Path) -> None:
    """And so is one that another program has recovered after the server was killed, as the sqlite3 shell does."""
    path = tmp_path / "bets.db"
    killed(path, 3)
    with sqlite3.connect(path) as shell:
        assert shell.execute("SELECT count(*) FROM batch").fetchall() == [(3,)]
    shell.close()
    assert list(tmp_path.iterdir()) == [path]
    assert stored(path, readonly=True) == rows_of(0, 1, 2)
    with open_store(f"sqlite:///{path}") as store:
        append_to(store, [sample_batch([3])])
    assert list(tmp_path.iterdir()) == [path]
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert stored(copy) == rows_of(0, 1, 2, 3)


@pytest.mark.parametrize("pages", [1000, 100])
def test_a_log_over_another_state_of_its_book_is_told(tmp_path: Path, pages: int) -> None:
    """A backup was put in the place of the main file, and the log of later days was left beside it."""
    path = tmp_path / "bets.db"
    with open_store(f"sqlite:///{path}") as store:
        append_to(store, [sample_batch([100])])
    backup = shutil.copy(path, tmp_path / "backup")
    killed(path, 40, pages=pages)
    main = path.read_bytes()
    shutil.copy(backup, path)
    refused(tmp_path, r"bets.db-wal: does not belong to this state of bets.db: put the bets.db back that it belongs to")
    path.write_bytes(main)
    assert stored(path) == rows_of(100, *range(40))


def test_a_copy_from_before_a_checkpoint_does_not_take_the_log_of_after(tmp_path: Path) -> None:
    """Both are of one run of the server: what lies between them is missing."""
    path = tmp_path / "bets.db"
    with open_store(f"sqlite:///{path}") as store:
        copy = shutil.copy(path, tmp_path / "copy")
        for row in range(200):
            append_to(store, [sample_batch(range(row * 100, row * 100 + 100))])
        log = (tmp_path / "bets.db-wal").read_bytes()
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(copy, restored / "bets.db")
    (restored / "bets.db-wal").write_bytes(log)
    refused(restored, r"bets.db-wal: does not belong to this state of bets.db")


@pytest.mark.parametrize("slip", [False, True])
def test_a_log_that_was_copied_does_not_go_with_the_book_of_the_end(tmp_path: Path, *, slip: bool) -> None:
    """SQLite would put older pages over newer ones. A backup of both files is of one moment, and the next one finds
    only the main file and leaves the old log beside it."""
    path = tmp_path / "bets.db"
    with open_store(f"sqlite:///{path}") as store:
        append_to(store, [sample_batch([1])])
        log = (tmp_path / "bets.db-wal").read_bytes()
        append_to(store, [sample_batch([2])])
        if slip:
            path.rename(tmp_path / "week.db")
    (tmp_path / "week.db" if slip else path).replace(path)
    assert stored(path, readonly=True) == rows_of(1, 2)
    (tmp_path / "bets.db-wal").write_bytes(log)
    refused(tmp_path, r"bets.db-wal: does not belong to this state of bets.db")
    (tmp_path / "bets.db-wal").unlink()
    assert stored(path) == rows_of(1, 2)


def test_a_log_of_another_book_is_told(tmp_path: Path) -> None:
    """Two books were confused."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        killed(tmp_path / name / "bets.db", 3)
    shutil.copy(tmp_path / "one" / "bets.db-wal", tmp_path / "two" / "bets.db-wal")
    refused(tmp_path / "two", r"bets.db-wal: does not belong to this state of bets.db")


def test_a_journal_beside_a_book_with_a_log_is_told(tmp_path: Path) -> None:
    """SQLite would take the book back to what the journal holds."""
    path = tmp_path / "bets.db"
    killed(path, 3)
    (tmp_path / "bets.db-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(1000))
    refused(tmp_path, r"bets.db-journal: does not belong to bets.db, which has no such journal: move it away")


def test_no_file_stays_behind_a_start_that_fails(tmp_path: Path) -> None:
    """Not even an empty one, which would be taken for a book the next time."""
    code = (
        "import resource, sys\n"
        "from bets_protocol import StorageError\n"
        "from bets_server.store import open_store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "try:\n    open_store(sys.argv[1])\nexcept StorageError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/bets.db"]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=unmeasured_environment(),
        timeout=DEADLINE_S,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (
        f"{tmp_path}/bets.db: there is no room: files may have 2048 bytes at most (ulimit -f)\n",
        "",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_second_name_is_refused(tmp_path: Path) -> None:
    """Killed under one name and served by the other, the log of the first would be applied later, over newer bets."""
    path, other = tmp_path / "bets.db", tmp_path / "other.db"
    open_store(f"sqlite:///{path}").close()
    os.link(path, other)
    before = contents(tmp_path)
    for name in (path, other):
        with pytest.raises(StorageError, match=rf"{name}: has 2 names \(hard links\).*keep one of them"):
            open_store(f"sqlite:///{name}")
    assert contents(tmp_path) == before
    other.unlink()
    other.symlink_to(path)  # of which SQLite knows the true name
    with open_store(f"sqlite:///{other}") as store:
        assert append_to(store, [sample_batch([1])]) == [Verdict.STORED]
        assert (tmp_path / "bets.db-wal").exists()
    assert stored(path) == rows_of(1)


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    """As into a container: its log would stay in there."""
    if not may_mount():
        pytest.skip("no user namespaces here, so nothing can be mounted")
    path = tmp_path / "a name" / "bets.db"
    path.parent.mkdir()
    open_store(f"sqlite:///{path}").close()
    script = 'set -eu; mount --bind "$1" "$1"; exec "$2" -c "$3" "$1"'
    code = (
        "import sys\nfrom bets_server.store import open_store\n"
        "with open_store(f'sqlite:///{sys.argv[1]}', readonly=True) as store:\n    print(store.state().bets)\n"
        "open_store(f'sqlite:///{sys.argv[1]}')\n"
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(path), sys.executable, code]
    done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False, capture_output=True, text=True)
    assert done.stdout == "0\n"
    assert (
        f"{path}: is mounted as a single file, and the files beside it would stay behind: mount its folder"
        in done.stderr
    )


def moved(path: Path) -> None:
    """`mv bets.db week.db`."""
    path.rename(path.with_name("week.db"))


def replaced(path: Path) -> None:
    """Another file in its place."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def log_deleted(path: Path) -> None:
    """`rm bets.db-wal`."""
    path.with_name(path.name + "-wal").unlink()


def everything_deleted(path: Path) -> None:
    """`rm bets.db*`."""
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()


def linked(path: Path) -> None:
    """`ln bets.db other.db`."""
    os.link(path, path.with_name("other.db"))


def log_linked(path: Path) -> None:
    """`cp -l` of the log."""
    os.link(path.with_name(path.name + "-wal"), path.with_name("other.db-wal"))


def folder_moved(path: Path) -> None:
    """`mv data old`, and a new folder in its place."""
    path.parent.rename(path.parent.with_name("old"))
    path.parent.mkdir()


SLIPS = [
    (moved, "is not where it was: No such file or directory: put back what was moved"),
    (replaced, "another file is there now than the one that is open"),
    (log_deleted, "-wal: is not where it was"),
    (everything_deleted, "is not where it was"),
    (linked, "has 2 names"),
    (log_linked, "-wal: has 2 names"),
    (folder_moved, "is not where it was"),
]


def writes() -> list[Callable[[BetStore], object]]:
    """Every call that changes a store."""
    return [
        lambda store: append_to(store, [sample_batch([2])]),
        lambda store: store.open_upload(2, bytes(16), total=1),
        lambda store: store.seal_and_draw(3, expected=9, pick=winning),
        lambda store: store.seal_and_draw(1, expected=1, pick=winning),
        lambda store: store.void(1, reason="x"),
    ]


@pytest.mark.parametrize(("slip", "says"), SLIPS, ids=[slip.__name__ for slip, _ in SLIPS])
@pytest.mark.parametrize("write", range(5))
def test_nothing_is_acknowledged_that_nobody_will_find(
    tmp_path: Path, slip: Callable[[Path], None], says: str, write: int
) -> None:
    """The name no longer leads to the file: the store ends, by itself and by each call that writes."""
    path = tmp_path / "data" / "bets.db"
    path.parent.mkdir()
    store = open_store(f"sqlite:///{path}")
    append_to(store, [sample_batch([1])])
    store.require_in_place()
    slip(path)
    with pytest.raises(StorageError, match=re.escape(says)):
        store.require_in_place()
    with pytest.raises(StorageError, match=re.escape(says)):
        writes()[write](store)
    with pytest.raises(StorageError, match="the store has failed"):
        append_to(store, [sample_batch([3])])
    store.close()


@pytest.mark.parametrize("slip", [moved, log_deleted, linked, folder_moved])
def test_what_was_acknowledged_is_in_the_main_file_alone(tmp_path: Path, slip: Callable[[Path], None]) -> None:
    """Wherever that was moved to, once its server has ended: whoever finds it need not know of the log."""
    path = tmp_path / "data" / "bets.db"
    path.parent.mkdir()
    store = open_store(f"sqlite:///{path}")
    append_to(store, [sample_batch([1])])
    slip(path)
    store.close()
    (found,) = [each for each in tmp_path.glob("*/*.db") if each.name != "other.db"]
    assert stored(found, readonly=True) == rows_of(1)


def test_the_log_of_a_newer_book_of_the_name_is_not_deleted(tmp_path: Path) -> None:
    """SQLite deletes a log by its name when it closes a book: the book that came to lie there needs its own."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom bets_server.store import open_store\n"
        "from bets_server.store.conformance.samples import append_to, sample_batch\n"
        "path = Path(sys.argv[1])\n"
        "store = open_store(f'sqlite:///{path}')\nappend_to(store, [sample_batch([1])])\n"
        "for part in ('', '-wal'):\n    path.with_name(path.name + part).rename(path.with_name('week.db' + part))\n"
        "print('moved', flush=True)\nsys.stdin.read()\nstore.close()\n"
    )
    path = tmp_path / "bets.db"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "moved\n"
        killed(path, 4)
        first.communicate(timeout=DEADLINE_S)
    assert first.returncode == 0
    assert stored(path) == rows_of(0, 1, 2, 3)
    assert stored(tmp_path / "week.db") == rows_of(1)


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    """Whether the book was closed in good order or its server was killed; servers are kept out meanwhile."""
    path = tmp_path / "bets.db"
    with open_store(f"sqlite:///{path}") as store:
        with pytest.raises(StorageError, match="another server has it open"):
            open_store(f"sqlite:///{path}", readonly=True)
        append_to(store, [sample_batch([7])])
    for expected in (rows_of(7), rows_of(7, 0, 1)):
        before = contents(tmp_path)
        with open_store(f"sqlite:///{path}", readonly=True) as store:
            assert documents(store.bets()) == expected
            with pytest.raises(StorageError, match="was opened for reading only"):
                append_to(store, [sample_batch([8])])
        assert contents(tmp_path) == before
        if expected == rows_of(7):
            killed(path, 2)


def test_a_reader_keeps_servers_out(tmp_path: Path) -> None:
    """What it reads is of one moment."""
    path = tmp_path / "bets.db"
    open_store(f"sqlite:///{path}").close()
    code = "import sys\nfrom bets_server.store import open_store\nopen_store(sys.argv[1])"
    with open_store(f"sqlite:///{path}", readonly=True):
        command = [sys.executable, "-c", code, f"sqlite:///{path}"]
        done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False, capture_output=True, text=True)
        assert "bets.db: another server has it open" in done.stderr


def test_a_read_only_file_system_can_be_read(tmp_path: Path) -> None:
    """Also with a log, which SQLite itself cannot read there."""
    if not may_mount():
        pytest.skip("no user namespaces here, so nothing can be mounted")
    folder = tmp_path / "data"
    folder.mkdir()
    killed(folder / "bets.db", 2)
    code = (
        "import sys\nfrom bets_server.store import open_store\n"
        "with open_store(f'sqlite:///{sys.argv[1]}/bets.db', readonly=True) as store:\n"
        "    print(store.state().bets_by_agency)\n"
    )
    script = 'set -eu; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec "$2" -c "$3" "$1"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(folder), sys.executable, code]
    for _ in range(2):
        done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("{1: 2}\n", "")
        with open_store(f"sqlite:///{folder}/bets.db", create=False):
            pass  # the second time it was closed in good order


# As `KILLED`, and is killed when the main file has all of the log, right before the log is begun anew.
KILLED_IN_A_CHECKPOINT = """
import os, signal, sys
from bets_server.store import open_store
from bets_server.store.sqlite import file as sqlite_file
from bets_server.store.sqlite import log as sqlite_log
from bets_server.store.conformance.samples import append_to, sample_batch
sqlite_file._PAGES_BEFORE_CHECKPOINT = 100
store = open_store(f"sqlite:///{sys.argv[1]}")
sqlite_log.follow_state = lambda connection: os.kill(os.getpid(), signal.SIGKILL)
for row in range(1000):
    print(row, flush=True)
    append_to(store, [sample_batch([row])])
"""


@pytest.mark.parametrize("frame", ["old", "torn", "gone"])
@pytest.mark.parametrize("header", ["old", "new"])
def test_a_log_that_is_begun_anew_may_be_cut_off(tmp_path: Path, header: str, frame: str) -> None:
    """By a kill or a power cut between its header and its first frame: nothing in it counts, and nothing is missing."""
    path, log = tmp_path / "bets.db", tmp_path / "bets.db-wal"
    command = [sys.executable, "-c", KILLED_IN_A_CHECKPOINT, str(path)]
    done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    main, data = path.read_bytes(), bytearray(log.read_bytes())
    if header == "new":
        magic, version, page_bytes, sequence, salt, *_ = struct.unpack(">8I", data[:32])
        begun = struct.pack(">6I", magic, version, page_bytes, sequence + 1, (salt + 1) & 0xFFFF_FFFF, 12345)
        order = "<" if magic == 0x377F0682 else ">"
        data[:32] = begun + struct.pack(">2I", *sqlite_log._summed(begun, (0, 0), order))
    if frame == "torn":
        data[32:544] = bytes(512)
    elif frame == "gone":
        data[32 : 32 + 24 + 4096] = bytes(24 + 4096)
    log.write_bytes(data)
    assert stored(path, readonly=True) == rows_of(*range(int(done.stdout.split()[-1]) + 1))
    path.write_bytes(main)
    assert stored(path) == rows_of(*range(int(done.stdout.split()[-1]) + 1))


NO_ROOM_FOR_A_CHECKPOINT = """
import os, resource, signal, sys
from bets_server.store import open_store
from bets_server.store.sqlite import file as sqlite_file
from bets_server.store.conformance.samples import append_to, sample_batch
sqlite_file._PAGES_BEFORE_CHECKPOINT = 20
store = open_store(f"sqlite:///{sys.argv[1]}")
size = os.path.getsize(sys.argv[1])
rows = 0
while os.path.getsize(sys.argv[1]) == size:  # until the main file has to grow
    append_to(store, [sample_batch(range(rows, rows + 200))])
    rows += 200
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]), -1))
for _ in range(60):
    append_to(store, [sample_batch(range(rows, rows + 200))])
    rows += 200
print(rows, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_checkpoints_that_find_no_room_leave_a_book_that_others_can_recover(tmp_path: Path) -> None:
    """The log takes what the main file has no room for; the sqlite3 shell makes one whole file of both."""
    path = tmp_path / "bets.db"
    command = [sys.executable, "-c", NO_ROOM_FOR_A_CHECKPOINT, str(path)]
    done = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    with sqlite3.connect(path) as shell:
        shell.execute("SELECT count(*) FROM batch").fetchall()
    shell.close()
    assert list(tmp_path.iterdir()) == [path]
    assert stored(path, readonly=True) == rows_of(*range(int(done.stdout)))


def test_a_draw_goes_over_checkpoints(tmp_path: Path) -> None:
    """Checkpoints of our own, in any number, lose nothing of what lies before and behind them."""
    path = tmp_path / "bets.db"
    killed(path, 120, pages=20)
    with open_store(f"sqlite:///{path}") as store:
        assert store.seal_and_draw(1, expected=1, pick=lambda: WINNING).drawn
        assert store.state().bets == 120
    assert stored(path, readonly=True) == rows_of(*range(120))
