"""A disk that is really full, and one that fails: by means of the operating system, so nothing is pretended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bets_server.store import open_store
from bets_server.store.conformance.samples import append_to, documents, sample_batch
from tests.e2e.processes import unmeasured_environment
from tests.server.store.appender import group_bets
from tests.server.store.mounts import may_mount

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0

# In a mount namespace of its own: a small disk, filled, half freed, filled again; then what is on it is copied out.
ON_A_SMALL_DISK = """
set -eu
python=$1 folder=$2 scheme=$3 bytes=$4
mount -t tmpfs -o size=$bytes none "$folder/disk"
url="$scheme:///$folder/disk/bets"
head -c $((bytes / 2)) /dev/zero > "$folder/disk/ballast"
"$python" -m tests.server.store.appender append "$url" 0 > "$folder/first"
rm "$folder/disk/ballast"
next=$(grep -c '^[0-9]' "$folder/first" || true)
"$python" -m tests.server.store.appender append "$url" "$next" > "$folder/second"
cp -r "$folder/disk/." "$folder/copy"
"""


@pytest.mark.parametrize(("scheme", "disk_bytes"), [("sqlite", 8 << 20), ("csv", 2 << 20)])
def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, scheme: str, disk_bytes: int) -> None:
    """Every group up to the refused one is stored and no byte of that one; with room again the store goes on."""
    if not may_mount():
        pytest.skip("no user namespaces here, so no small disk to fill")
    for name in ("disk", "copy"):
        (tmp_path / name).mkdir()
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"]
    subprocess.run(
        [*command, sys.executable, tmp_path, scheme, str(disk_bytes)], cwd=PROJECT, timeout=DEADLINE_S, check=True
    )
    first, second = [(tmp_path / name).read_text().splitlines() for name in ("first", "second")]
    for said in (first, second):
        assert said[0] == "open"
        assert said[-1].startswith("full ")
        assert len(said) > 10
    groups = [int(group) for group in first[1:-1] + second[1:-1]]
    assert groups == list(range(len(groups)))
    with open_store(f"{scheme}:///{tmp_path}/copy/bets") as store:
        expected = [bet for group in groups for bets in group_bets(group) for bet in bets]
        assert documents(store.bets()) == documents(expected)


FAILING = """
import resource, sys
from bets_protocol import StorageError
from bets_server.store import Parcel, StoreFull, open_store
from tests.server.store.appender import bet, lots_of
store = open_store(sys.argv[1])
print(store.commit([Parcel(runs=lots_of([bet(1)]))])[0].verdict.name)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
for _ in range(2):
    try:
        store.commit([Parcel(runs=lots_of([bet(2)]))])
    except StoreFull as error:
        print("full", error)
    except StorageError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(store.commit([Parcel(runs=lots_of([bet(3)]))])[0].verdict.name)
"""

OPENING = """
import resource, sys
from bets_server.store import Parcel, StoreFull, open_store
from tests.server.store.appender import bet, lots_of
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
store = open_store(sys.argv[1])
print(store.state().bets_by_agency)
try:
    store.commit([Parcel(runs=lots_of([bet(2)]))])
except StoreFull as error:
    print("full")
store.close()
"""


def test_a_limit_on_the_size_of_files_is_lack_of_room(tmp_path: Path) -> None:
    """SQLite calls it an I/O error: nothing of the group is stored, all the same, and with room the store goes on."""
    url = f"sqlite:///{tmp_path}/bets.db"
    done = subprocess.run(
        [sys.executable, "-c", FAILING, url],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    full = f"full {tmp_path}/bets.db: there is no room: files may have 4096 bytes at most (ulimit -f)"
    assert done.stdout.splitlines() == ["STORED", full, full, "STORED"]
    with open_store(url) as store:
        assert documents(store.bets()) == ["00000001", "00000003"]


def test_a_book_is_opened_where_nothing_may_grow(tmp_path: Path) -> None:
    """The winners of a finished draw must be within reach; what would have to be written is refused."""
    url = f"sqlite:///{tmp_path}/bets.db"
    with open_store(url) as store:
        append_to(store, [sample_batch([1], agency=1)])
    for limit in (4096, 0):
        command = [sys.executable, "-c", OPENING, url, str(limit)]
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env=unmeasured_environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert (done.stderr, done.stdout.splitlines()) == ("", ["{1: 1}", "full"])
    with open_store(url) as store:
        assert store.state().bets_by_agency == {1: 1}
