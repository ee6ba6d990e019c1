"""What happens to the disk: the server killed at a write, writes and flushes that fail, no room."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from bets_protocol.cli.exit_codes import ExitCode
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.raw_agency import RawAgency, ask_message, upload_id_of
from tests.campaigns.faults.stage import Stage
from tests.campaigns.faults.strace import attached, injected, strace_missing
from tests.campaigns.faults.witness import OK
from tests.e2e.processes import wait_until

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


def no_room_by_a_rule(folder: Path, seed: int) -> int:
    """Lack of room that is not a full disk: a quota (EDQUOT) or a limit on the size of files (EFBIG), at writes, at a
    flush, from the start on, by a real limit."""
    (_refused_writes, _refused_flush, _refused_from_the_start, _limited_size)[seed % 4](folder, seed // 4)
    return 1


def _codes(stage: Stage) -> set[int]:
    return {status.code for talk in stage.witness.talks for status in talk.statuses}


def _refused_writes(folder: Path, seed: int) -> None:
    """Of the store's writes some in a row are refused. Each is followed by one with which the store asks the system
    why: where both were refused the client is told; where the second was not, nobody can know more than "I/O error".
    """
    with Stage(folder, seed, bets=300).opened() as stage:
        stage.start(*ONE_WORKER)
        error, first, count = stage.random.choice(["EDQUOT", "EFBIG"]), nth_call(seed), stage.random.randint(1, 4)
        fault = f"inject=pwrite64:error={error}:when={first}..{first + count - 1}"
        with attached(stage.server, folder, "-e", fault, "-e", "trace=pwrite64") as log:
            client = stage.send(1, *ONE_BY_ONE)
            wait_until(lambda: not (client.running and stage.server.running), "an end")
            struck = injected(log)
            assert struck < 2 or STORE_FULL in _codes(stage), f"{error} {struck} times, and {_codes(stage)} were told"
            if count % 2 and not stage.server.running:
                stage.server_ended(ExitCode.STORE_FAILED)
                assert stage.server.logged("store | result: fail") == 1, stage.server.out
                stage.serve()
            assert stage.server.running, f"{error} at {count} writes ended the server:\n{stage.server.out[-2000:]}"
        stage.finish({1: client}, *ONE_BY_ONE)


def _refused_flush(folder: Path, seed: int) -> None:
    """A flush finds the quota used up, as where file systems take room late; and so does whatever is written then."""
    with Stage(folder, seed, bets=300).opened() as stage:
        stage.start(*ONE_WORKER)
        nth = 1 + nth_call(seed) // 4
        flush = ("-e", f"inject=fdatasync:error=EDQUOT:signal=STOP:when={nth}", "-e", "trace=fdatasync")
        with attached(stage.server, folder, *flush) as log:
            client = stage.send(1, *ONE_BY_ONE)
            wait_until(lambda: injected(log) or not client.running, "a flush that fails")
        if not client.running:
            stage.finish({1: client}, *ONE_BY_ONE)
            return
        writes = ("-e", "inject=pwrite64:error=EDQUOT", "-e", "trace=pwrite64")
        with attached(stage.server, folder, *writes):
            stage.server.send_signal(signal.SIGCONT)
            wait_until(
                lambda: not stage.server.running or _codes(stage) - {OK}, "the end of the server, or another answer"
            )
            codes = _codes(stage)
            assert codes <= {OK}, f"I1: after a failed flush the client was told {codes}: nobody may be answered"
            stage.server_ended(ExitCode.STORE_FAILED)
        assert "the quota is used up" in stage.server.out, f"the reason is not told:\n{stage.server.out}"
        stage.serve()
        stage.finish({1: client}, *ONE_BY_ONE)


def _refused_from_the_start(folder: Path, seed: int) -> None:
    """A server that may not write at all serves what is there, and refuses the rest."""
    with Stage(folder, seed, agencies=2, bets=100).opened() as stage:
        server = stage.serve()
        number, bets = upload_id_of("first"), stage.files[1].bets
        stored = stage.random.randrange(1, len(bets))
        over = seed % 2 == 0
        with contextlib.ExitStack() as agencies:
            one, two = (agencies.enter_context(RawAgency(server.port, each)) for each in stage.files)
            assert one.open(number, len(bets)).code == OK
            if over:
                stored = len(bets)
                assert two.open(number, len(stage.files[2].bets)).code == OK
                assert two.store(stage.files[2].bets).code == OK
                two.send(ask_message(2))
            assert one.store(bets[:stored]).code == OK
            if over:
                assert one.winners() == stage.files[1].winners(stage.number)
        before = stage.kill_server() if stage.random.random() < 0.5 else stage.stop_server()
        fault = f"inject=pwrite64,ftruncate:error={stage.random.choice(['EDQUOT', 'EFBIG'])}"
        stage.serve_behind("strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=pwrite64,ftruncate", "-e", fault)
        assert stage.server.running, f"a start without room failed:\n{stage.server.out}{stage.server.err}"
        if over:
            with RawAgency(stage.server.port) as agency:
                assert agency.plain_winners() == stage.files[1].winners(stage.number), "I5: winners of another draw"
        else:
            with RawAgency(stage.server.port) as agency:
                assert agency.open(number, len(bets)).code == STORE_FULL, "a server without room opens an upload"
        after = stage.stop_server()
        assert after == before, "I1: the book is another after a start without room"
        stage.check_outputs()


def _limited_size(folder: Path, seed: int) -> None:
    """A limit on the size of files (`prlimit --fsize`) is reached under load, and then taken away."""
    with Stage(folder, seed, bets=600).opened() as stage:
        stage.start()
        limit = stage.random.randrange(300_000, 800_000)  # above what the programs print, below what the log grows to
        resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        client = stage.send(1, *ONE_BY_ONE)
        client.wait_until(lambda: STORE_FULL in _codes(stage), "a refusal for lack of room")
        resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        client.expect()
        stage.finish({1: client})


SMALL_DISK = """
set -eu
disk=$1 free=$2 image=$3; shift 3
mkdir "$disk" "$disk.copy"
if [ -n "$image" ]; then mount -o loop "$image" "$disk"; else mount -t tmpfs -o size=8m none "$disk"; fi
head -c $(($(df -P -B1 "$disk" | tail -1 | awk '{print $4}') - free)) /dev/zero > "$disk/ballast" || true
server=$$
(
    exec > /dev/null 2>&1
    until [ -e "$disk.go" ]; do kill -0 $server; sleep 0.02; done
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


QUOTA = """
set -eu
disk=$1 image=$2 limit=$3; shift 3
mkdir "$disk" "$disk.copy"
mount -o loop "$image" "$disk"
btrfs quota enable "$disk"
btrfs subvolume create "$disk/store"
btrfs qgroup limit "$limit" "$disk/store"
server=$$
(
    until [ -e "$disk.go" ]; do kill -0 $server; sleep 0.02; done
    btrfs qgroup limit none "$disk/store"
    touch "$disk.gone"
    while kill -0 $server; do sleep 0.02; done
    cp "$disk"/store/bets.db* "$disk.copy"
    touch "$disk.copied"
) > /dev/null 2>&1 &
exec "$@"
"""


def real_quota(folder: Path, seed: int) -> int:
    """A quota of btrfs is used up under load, and then lifted. The client is told and waits; or a flush failed, and the
    server ends with exit code 8 and the reason."""
    with Stage(folder, seed, bets=1500).opened() as stage:
        disk = folder / "disk"
        stage.store = disk / "store" / "bets.db"
        stage.serve_behind(*quota_disk(folder, disk, limit=stage.random.randrange(600_000, 6_000_000)))
        stage.connect()
        client = stage.send(1, *ONE_BY_ONE)
        wait_until(
            lambda: STORE_FULL in _codes(stage) or not (client.running and stage.server.running),
            "a refusal for lack of room, or an end",
        )
        (folder / "disk.go").touch()
        wait_until((folder / "disk.gone").exists, "the end of the quota")
        if stage.server.running:
            wait_until(lambda: not (client.running and stage.server.running), "the end of the client")
        if stage.server.running:
            client.expect()
            stage.server.stop()
        else:
            stage.server.expect(ExitCode.STORE_FAILED)
            assert "the quota is used up" in stage.server.out, f"the reason is not told:\n{stage.server.out[-2000:]}"
        wait_until((folder / "disk.copied").exists, "the copy of the disk")
        stage.store = folder / "disk.copy" / "bets.db"
        stage.check_scene()
        stage.serve()
        stage.finish({1: client}, *ONE_BY_ONE)
    return 1


def quota_disk(folder: Path, disk: Path, *, limit: int) -> list[str]:
    """The command that becomes a server with a disk of its own, on which the store's folder has a quota."""
    image = folder / "disk.image"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "-q", "--mixed", image], check=True, capture_output=True)
    return ["unshare", "--mount", "sh", "-c", QUOTA, "sh", str(disk), str(image), str(limit)]


@functools.cache
def no_quota() -> str:
    """The obstacle of trials that need a file system with a quota."""
    if os.geteuid() != 0:
        return "only root can mount a file system with a quota"
    if missing := [program for program in ("unshare", "mkfs.btrfs", "btrfs") if shutil.which(program) is None]:
        return f"there is no {' and no '.join(missing)} (Debian: btrfs-progs)"
    with tempfile.TemporaryDirectory(prefix="bets-quota-") as name:
        command = [*quota_disk(Path(name), Path(name) / "disk", limit=1_000_000), "true"]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"btrfs cannot be mounted with a quota: {tried.stderr.strip()}"


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
    Kind(name="quota", row="13", trials=12, run=no_room_by_a_rule, obstacle=strace_missing),
    Kind(name="real-quota", row="13", trials=4, run=real_quota, obstacle=no_quota),
)
