"""Finding a store by its URL, and what stands in the way of a file, whichever store it is."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol import ConfigError, StorageError
from bets_server.store import StoreFull, open_store, register_store, store_schemes
from bets_server.store.conformance.samples import append_to, sample_batch
from bets_server.store.sqlite.store import open_sqlite

DEADLINE_S = 30.0
NOBODY = 65534

HOLDER = """
import sys
from bets_server.store import open_store
with open_store(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder for `give_up_privileges`, outside pytest's own, which others cannot enter; all is undone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        myself = os.geteuid()
        try:
            yield folder
        finally:
            os.seteuid(myself)
            folder.chmod(0o755)


def give_up_privileges(folder: Path) -> None:
    """From here on this process can read the folder and not write in it, though the tests may run as root."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


@pytest.fixture(params=["sqlite", "csv"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Each of the stores that live in a file."""
    return str(request.param)


def test_the_stores_that_come_with_the_server_are_known() -> None:
    """By their schemes, in either case of letters."""
    assert {"csv", "sqlite"} <= set(store_schemes())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "expected a URL that begins with one of"),
        ("bets.db", "'bets.db' names no store"),
        ("sqlite", "names no store"),
        ("mysql:///bets", r"csv://, .*sqlite://"),
        ("://bets", "names no store"),
        ("sqlite://", r"names no file: expected sqlite:///PATH"),
        ("sqlite:///", "names no file"),
        ("csv:////", "names no file"),
        ("sqlite://bets.db", r"'sqlite://bets\.db' names no file: expected sqlite:///PATH"),
        ("sqlite:///.", "names no file: expected sqlite:///PATH"),
        ("csv:///a\0b", "names no file: expected a path of printable characters"),
        ("csv:///a\nb", "names no file: expected a path of printable characters"),
        ("sqlite:///a\udcffb", "names no file: expected a path in UTF-8"),
    ],
)
def test_a_url_that_names_no_store_is_a_setting_that_cannot_be_used(url: str, says: str) -> None:
    """The error shows the URL and what was expected."""
    with pytest.raises(ConfigError, match=says):
        open_store(url)


@pytest.mark.parametrize("draw", [-1, 0x1_0000_0000])
def test_a_draw_that_the_wire_cannot_name_is_refused(tmp_path: Path, draw: int) -> None:
    """Before anything is created."""
    with pytest.raises(ConfigError, match=f"the draw's id is {draw}, and must be 0 to 4294967295"):
        open_store(f"sqlite:///{tmp_path}/bets.db", draw=draw)
    assert list(tmp_path.iterdir()) == []


def test_a_scheme_can_be_registered_once() -> None:
    """Nobody takes another's place by accident."""
    with pytest.raises(ConfigError, match="sqlite:// is registered already"):
        register_store("sqlite", open_sqlite)


def test_a_path_of_three_slashes_lies_in_the_working_folder(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four is absolute. Whatever else is in the path belongs to the name."""
    monkeypatch.chdir(tmp_path)
    name = "apuestas ñ?mode=memory&x=1#%41"
    with open_store(f"{scheme.upper()}:///{name}") as store:
        append_to(store, [sample_batch([1])])
        assert (tmp_path / name).is_file()
    with open_store(f"{scheme}:///{tmp_path}/{name}", create=False) as store:
        assert store.state().bets_by_agency == {1: 1}


def test_new_files_are_their_owners_only(scheme: str, tmp_path: Path) -> None:
    """All of them have mode 0600, while the store is open and after."""
    with open_store(f"{scheme}:///{tmp_path}/bets") as store:
        append_to(store, [sample_batch([1])])
        while_open = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(while_open) == {"sqlite": 2, "csv": 3}[scheme]
    assert set(while_open.values()) == {0o600}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("path", "says"),
    [
        (".", "is a directory"),
        ("folder", "folder: is a directory"),
        ("missing/bets", "missing/bets: there is no folder '{}/missing'$"),
        ("file/bets", "file/bets: there is no folder '{}/file'$"),
        ("n" * 300, "the name has 300 bytes; a store's may have 23[29] there"),
        ("n" * 240, "the name has 240 bytes; a store's may have 23[29] there"),
        ("dangling", "dangling: is a link to 'nowhere', where there is no file"),
        ("loop", "loop: Too many levels of symbolic links"),
        ("pipe", "pipe: is a device, a pipe or a socket; a store is a regular file"),
        ("null", "null: is a device, a pipe or a socket; a store is a regular file"),
        ("full", "full: is a device, a pipe or a socket; a store is a regular file"),
    ],
)
def test_what_is_in_the_way_is_told(scheme: str, tmp_path: Path, path: str, says: str, *, create: bool) -> None:
    """With the path, and nothing is created."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("dangling", "nowhere"), ("loop", "loop"), ("null", "/dev/null"), ("full", "/dev/full")):
        (tmp_path / name).symlink_to(target)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=says.format(re.escape(str(tmp_path)))):
        open_store(f"{scheme}:///{tmp_path}/{path}", create=create)
    assert sorted(tmp_path.iterdir()) == before


def test_the_longest_paths_work_and_longer_ones_are_told(scheme: str, tmp_path: Path) -> None:
    """The names of a store's other files are longer than its own, and SQLite takes 512 bytes of a path."""
    reserved = 16 + len({"csv": ".ledger"}.get(scheme, ""))
    max_path_bytes, max_name_bytes = 512 - reserved, 255 - reserved
    name = "ñ" * (max_name_bytes // 2) + "n" * (max_name_bytes % 2)
    with open_store(f"{scheme}:///{tmp_path}/{name}") as store:
        append_to(store, [sample_batch([1])])
    with pytest.raises(StorageError, match=f"name has {max_name_bytes + 1} bytes; a store's may have {max_name_bytes}"):
        open_store(f"{scheme}:///{tmp_path}/{name}n")
    folder = tmp_path
    while len(str(folder)) < max_path_bytes - 210:
        folder /= "f" * 50
    folder.mkdir(parents=True)
    longest = folder / ("n" * (max_path_bytes - len(str(folder)) - 1))
    with open_store(f"{scheme}:///{longest}") as store:
        append_to(store, [sample_batch([1])])
    with pytest.raises(StorageError, match=f"the path has {max_path_bytes + 1} bytes; a store's may have"):
        open_store(f"{scheme}:///{longest}n")


def test_a_deleted_working_folder_is_told(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path from there leads nowhere, another one does."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match="bets: the working folder was deleted"):
        open_store(f"{scheme}:///bets")
    open_store(f"{scheme}:///{tmp_path}/bets").close()


def test_a_forgotten_slash_is_told(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing folder of a relative path is most likely an absolute one with a slash too few."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=rf"in {re.escape(str(tmp_path))} \(an absolute path takes four slashes"):
        open_store(f"{scheme}:///data/bets")


def test_a_folder_that_cannot_be_written_is_told(scheme: str) -> None:
    """For a new store and for one that is there."""
    with without_privileges() as folder:
        url = f"{scheme}:///{folder}/bets"
        open_store(url).close()
        (folder / "bets").chmod(0o444)
        give_up_privileges(folder)
        why = r"(cannot open the file: Permission denied|cannot be (opened|written): the file or its folder does not)"
        with pytest.raises(StorageError, match=rf"{folder}/new: cannot create the file: Permission denied"):
            open_store(f"{scheme}:///{folder}/new")
        with pytest.raises(StorageError, match=rf"{folder}/bets: {why}"):
            open_store(url)
        with pytest.raises(StorageError, match=rf"{folder}/bets: {why}"):
            open_store(url, create=False)


def test_a_file_that_cannot_be_read_is_told(scheme: str) -> None:
    """Whoever started the server lacks the permission."""
    with without_privileges() as folder:
        (folder / "bets").write_bytes(b"")
        (folder / "bets").chmod(0)
        give_up_privileges(folder)
        with pytest.raises(StorageError, match=rf"{folder}/bets: cannot (open the file: Permission|be opened)"):
            open_store(f"{scheme}:///{folder}/bets")


def test_a_folder_that_hides_what_is_in_it_is_told(scheme: str) -> None:
    """Not even whether there is a store can be seen."""
    with without_privileges() as folder:
        (folder / "inner").mkdir(mode=0)
        give_up_privileges(folder)
        with pytest.raises(StorageError, match=rf"{folder}/inner/bets: Permission denied"):
            open_store(f"{scheme}:///{folder}/inner/bets")


def test_a_store_that_another_process_has_open_is_told(scheme: str, tmp_path: Path) -> None:
    """And that process goes on; when it has ended, the store is free."""
    url = f"{scheme}:///{tmp_path}/bets"
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        deadline = threading.Timer(DEADLINE_S, holder.kill)
        deadline.start()
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            for create in (True, False):
                with pytest.raises(StorageError, match=rf"^{tmp_path}/bets: another server has it open$"):
                    open_store(url, create=create)
            holder.communicate()
        finally:
            deadline.cancel()
            deadline.join()
    assert holder.returncode == 0
    open_store(url).close()


def test_a_full_store_is_a_store_that_failed_for_now() -> None:
    """Whoever only knows `StorageError` still catches it."""
    assert issubclass(StoreFull, StorageError)
