"""A CSV store: programs that are killed, disks that fail or have no room, and power cuts as in `power_loss`.

Of a power cut the order of flushes is what is tried: what the ledger says of the file was on the disk before.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from bets_protocol import Bet
from bets_server.store import open_store
from bets_server.store.csv.rows import lines_of
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.power_loss import CALLS, Deed, Disk, deeds
from tests.campaigns.faults.strace import strace_missing
from tests.e2e.processes import DEADLINE_S
from tests.server.store.appender import bet, group_bets

PROJECT = Path(__file__).resolve().parents[3]
STATES = 250
GROUPS = 24

# It says over a socket what is stored, since that is a call that the recording shows, and where that is read.
PROGRAM = """
import socket, sys
from bets_protocol import StorageError
from bets_server.store import StoreFull, open_store
from tests.server.store.appender import group_of
said, heard = socket.socketpair()
try:
    with open_store(sys.argv[1], create=False) as store:
        said.send(b"open")
        for group in range(int(sys.argv[2])):
            while True:
                try:
                    store.commit(group_of(group))
                    break
                except StoreFull as error:
                    print("full", flush=True)
            said.send(b"stored")
            print("stored", flush=True)
except StorageError as error:
    print("failed", error, flush=True)
"""


def new_store(path: Path) -> list[list[Bet]]:
    """Makes one at a path, without the room that it keeps free; gives the bets of each group of the program."""
    open_store(f"csv:///{path}").close()
    with contextlib.closing(sqlite3.connect(path.with_name(path.name + ".ledger"))) as connection:
        connection.execute("VACUUM")
    return [[each for bets in group_bets(group) for each in bets] for group in range(GROUPS)]


def run_program(path: Path, *strace: str) -> str:
    """Runs it behind strace; gives what it has said."""
    command = ["strace", "-f", *strace, sys.executable, "-c", PROGRAM, f"csv:///{path}", str(GROUPS)]
    done = subprocess.run(command, cwd=PROJECT, timeout=4 * DEADLINE_S, check=False, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def legacy_fault(folder: Path, seed: int) -> int:
    """The n-th write or flush kills the program, or fails for the legacy file alone, now and then more than once."""
    source = random.Random(seed)
    path = folder / "bets.csv"
    groups = new_store(path)
    call = source.choice(["pwrite64", "fdatasync"])
    fault = source.choice(["signal=KILL", "signal=KILL", "error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EFBIG"])
    nth = source.randrange(1, 3 * GROUPS if fault == "signal=KILL" else GROUPS)
    last = nth + source.randrange(3) if "signal" not in fault else nth
    only = () if fault == "signal=KILL" and source.random() < 0.5 else ("-P", str(path))
    inject = f"inject={call}:{fault}:when={nth}..{last}"
    said = run_program(path, *only, "-o", "/dev/null", "-e", f"trace={call}", "-e", inject).splitlines()
    stored = said.count("stored")
    assert ("failed" in "".join(said)) <= (fault == "error=EIO"), f"{inject}: {said[-1]}"
    assert said.count("full") <= last - nth + 1, f"{inject}: refused {said.count('full')} times"
    with open_store(f"csv:///{path}", create=False) as store:
        found = list(store.bets())
    possible = [[each for group in groups[:count] for each in group] for count in (stored, stored + 1)]
    assert found in possible, f"I1: {inject}: {stored} groups were acknowledged, {len(found)} bets are there"
    assert path.read_bytes() == lines_of(found), f"{inject}: the file has other lines than the ledger has bets"
    return 1


def legacy_power_lost(folder: Path, seed: int) -> int:
    """One recording of a store that takes lines of another program and stores groups, and `STATES` power cuts of it."""
    source = random.Random(seed)
    path = folder / "bets.csv"
    groups = new_store(path)
    disk = Disk({each.name: each.read_bytes() for each in folder.iterdir()})
    others = [bet(90_000_000 + row, agency=200) for row in range(source.choice([0, 1, 100]))]
    path.write_bytes(lines_of(others))
    disk.do(Deed("write", path.name, data=lines_of(others)))  # that other program has flushed nothing
    log = folder / "log"
    run_program(path, "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log))
    history = list(deeds(log.read_text(encoding="ascii", errors="replace")))
    assert sum(deed.what == "send" for deed in history) == GROUPS + 1, "the recording does not show what was said"
    done, said = 0, 0
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    for moment in sorted(source.randrange(len(history) + 1) for _ in range(STATES)):
        for deed in history[done:moment]:
            if deed.what == "send":
                said += 1
            else:
                disk.do(deed)
        done = moment
        if others and not said:
            continue  # what another program has not flushed may be torn, as long as nobody has said that it is taken
        with tempfile.TemporaryDirectory(prefix="bets-legacy-power-", dir=memory) as name:
            for file, content in disk.after_a_power_cut(source).items():
                (Path(name) / file).write_bytes(content)
            with open_store(f"csv:///{name}/bets.csv", create=False) as store:
                found = list(store.bets())
                rows = (Path(name) / "bets.csv").read_bytes()
        stored = max(0, said - 1)
        possible = [others + [each for group in groups[:count] for each in group] for count in (stored, stored + 1)]
        assert found in possible, f"I1: call {moment}: {stored} groups were acknowledged, {len(found)} bets are there"
        assert rows == lines_of(found), f"call {moment}: the file has other lines than the ledger has bets"
    return STATES


KINDS = (
    Kind(name="legacy-fault", row="10", trials=40, run=legacy_fault, obstacle=strace_missing),
    Kind(
        name="legacy-power-loss",
        row="11",
        trials=1000,
        run=legacy_power_lost,
        per_seed=STATES,
        obstacle=strace_missing,
    ),
)
