"""What happens to the disk: the server killed at a write, writes and flushes that fail, no room."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

from bets_protocol.programs.exit_codes import ExitCode
from tests.e2e.processes import wait_until
from tests.faults.kinds import Kind
from tests.faults.raw_agency import RawAgency, upload_id_of
from tests.faults.stage import Stage
from tests.faults.strace import attached, injected, strace_missing
from tests.faults.witness import OK

CALLS = 120
"""About so many writes and flushes has the upload of the trials, with its opening, seal and draw."""

OPENING_CALLS = 9000
"""Likewise the opening of a book, most of them for making room."""

STEP = 10
ONE_WORKER = ("--workers", "1")
ONE_BY_ONE = ("--batch-max", "10", "--window", "1")
STORE_FULL = 11


def nth_call(seed: int) -> int:
    """A number of a call, 1 to `CALLS`: in steps over all, and consecutive seeds come to every number."""
    turn = seed * STEP
    return 1 + (turn + turn // CALLS) % CALLS


def killed_at_a_call(folder: Path, seed: int) -> int:
    """The server is killed at its n-th write or flush, or just before its n-th answer."""
    with Stage(folder, seed, bets=300).opened() as stage:
        stage.start(*ONE_WORKER)
        calls = "sendto" if seed % 4 == 3 else "pwrite64,fdatasync"
        nth = nth_call(seed) // (4 if calls == "sendto" else 1) + 1
        with attached(stage.server, folder, "-e", f"inject={calls}:signal=KILL:when={nth}", "-e", f"trace={calls}"):
            client = stage.send(1, *ONE_BY_ONE)
            wait_until(lambda: not (client.running and stage.server.running), "an end")
            if stage.server.running:
                assert client.finished() == ExitCode.DONE, client.err
            stage.kill_server()
        stage.serve()
        stage.finish({1: client}, *ONE_BY_ONE)
    return 1


def killed_while_opening(folder: Path, seed: int) -> int:
    """A server that was killed is started again and killed at the n-th write of its recovery."""
    source = random.Random(seed)
    with Stage(folder, seed, bets=300).opened() as stage:
        server = stage.serve()
        bets = stage.files[1].bets
        with RawAgency(server.port) as client:
            assert client.open(upload_id_of("other"), len(bets)).code == OK
            for start in range(0, source.randrange(10, len(bets), 10), 10):
                assert client.store(bets[start : start + 10]).code == OK
        before = stage.kill_server()
        nth = int(OPENING_CALLS ** source.random())
        calls = "pwrite64,fdatasync,ftruncate,unlink"
        fault = f"inject={calls}:signal=KILL:when={nth}"
        stage.serve_behind("strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=" + calls, "-e", fault)
        after = stage.kill_server()
        assert after == before, "I1: the book is another after a recovery that was cut short"
        stage.serve()
        assert stage.stop_server() == before, "I1: the book is another after a recovery"
        stage.check_outputs()
    return 1


def failing_disk(folder: Path, seed: int) -> int:
    """The n-th write or flush fails with EIO: exit code 8 and no answer; whatever was acknowledged is there."""
    with Stage(folder, seed, bets=300).opened() as stage:
        stage.start(*ONE_WORKER)
        call = ("fdatasync", "pwrite64")[seed % 2]
        nth = 1 + nth_call(seed // 2) // 3
        with attached(stage.server, folder, "-e", f"inject={call}:error=EIO:when={nth}", "-e", f"trace={call}") as log:
            client = stage.send(1, *ONE_BY_ONE)
            wait_until(lambda: not (client.running and stage.server.running), "an end")
            if injected(log):
                codes = {status.code for talk in stage.witness.talks for status in talk.statuses}
                assert codes <= {OK}, f"I1: after a failed {call} the client was told {codes}: nobody may be answered"
                stage.server_ended(ExitCode.STORE_FAILED)
                assert stage.server.logged("store | result: fail") == 1, stage.server.out
            else:
                stage.kill_server()
        stage.serve()
        stage.finish({1: client}, *ONE_BY_ONE)
    return 1


def no_room_for_a_while(folder: Path, seed: int) -> int:
    """Some writes find no room (ENOSPC): the client is told so and comes again; the server lives."""
    with Stage(folder, seed, bets=300).opened() as stage:
        stage.start(*ONE_WORKER)
        first = nth_call(seed)
        fault = f"inject=pwrite64:error=ENOSPC:when={first}..{first + stage.random.randrange(3)}"
        with attached(stage.server, folder, "-e", fault, "-e", "trace=pwrite64") as log:
            client = stage.send(1, *ONE_BY_ONE).expect()
            codes = {status.code for talk in stage.witness.talks for status in talk.statuses}
            assert injected(log) == 0 or STORE_FULL in codes, f"no room, and the client was told {codes}"
            assert stage.server.running, "a full disk ended the server"
            stage.finish({1: client})
    return 1


SMALL_DISK = """
set -eu
disk=$1 free=$2 image=$3; shift 3
mkdir "$disk" "$disk.copy"
if [ -n "$image" ]; then mount -o loop "$image" "$disk"; else mount -t tmpfs -o size=8m none "$disk"; fi
head -c $(($(df -P -B1 "$disk" | tail -1 | awk '{print $4}') - free)) /dev/zero > "$disk/ballast" || true
server=$$
(
    exec > /dev/null 2>&1
    until [ -e "$disk.go" ]; do sleep 0.02; done
    rm "$disk/ballast"; sync
    while kill -0 $server; do sleep 0.02; done
    cp "$disk"/bets.db* "$disk.copy"
    touch "$disk.copied"
) &
exec "$@"
"""


def full_disk(folder: Path, seed: int) -> int:
    """A small file system of its own fills up; then there is room again: the client is told, waits, and finishes."""
    with Stage(folder, seed, bets=1500).opened() as stage:
        disk = folder / "disk"
        stage.store = disk / "bets.db"
        stage.serve_behind(*small_disk(folder, disk, free=stage.random.randrange(200_000, 1_200_000)))
        stage.connect()
        client = stage.send(1, *ONE_BY_ONE)
        client.wait_until(
            lambda: any(status.code == STORE_FULL for talk in stage.witness.talks for status in talk.statuses),
            "a refusal for lack of room",
        )
        (folder / "disk.go").touch()
        client.expect()
        stage.server.stop()
        wait_until((folder / "disk.copied").exists, "the copy of the small disk")
        stage.store = folder / "disk.copy" / "bets.db"
        stage.check_scene()
        stage.serve()
        stage.finish({1: client})
    return 1


def small_disk(folder: Path, disk: Path, *, free: int) -> list[str]:
    """The command that becomes a server with a small disk of its own: ext4 where it may be mounted, else tmpfs."""
    if os.geteuid() == 0 and shutil.which("mkfs.ext4"):
        image = folder / "disk.image"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
        return ["unshare", "--mount", "sh", "-c", SMALL_DISK, "sh", str(disk), str(free), str(image)]
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", str(disk), str(free), ""]


def no_mounts() -> str:
    """The obstacle of trials that need a file system of their own."""
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return ""
    return "nothing may be mounted here, so there is no small disk to fill"


KINDS = (
    Kind(name="kill-at-write", row="10", trials=CALLS // STEP * 2, run=killed_at_a_call, obstacle=strace_missing),
    Kind(name="kill-at-open", row="10", trials=12, run=killed_while_opening, obstacle=strace_missing),
    Kind(name="eio", row="12", trials=30, run=failing_disk, obstacle=strace_missing),
    Kind(name="enospc", row="13", trials=12, run=no_room_for_a_while, obstacle=strace_missing),
    Kind(name="full-disk", row="13", trials=10, run=full_disk, obstacle=no_mounts),
)
