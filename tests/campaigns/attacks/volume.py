"""What large numbers cost in memory: a large file, many idle and busy connections, many that wait for the draw."""

from __future__ import annotations

import contextlib
import resource
import time

from bets_client.input.sample import write_samples
from tests.campaigns.attacks.legitimate import connected, exactly
from tests.campaigns.attacks.scene import Scene, check_memory
from tests.campaigns.attacks.watch import KB, MB, rss_bytes, sockets
from tests.e2e.processes import wait_until
from tests.server.wire import ask, winners

FILE_BETS = 2_200_000
"""Rows of a file of 100 MB."""

IDLE, BUSY = 1000, 50
PARKED = 10_000
OTHERS = 100
"""Descriptors of the server beside those of connections, generously."""

ROOM = ("--max-connections", "25000", "--max-per-address", "25000", "--max-per-agency", "25000")
PATIENT = ("--first-message-timeout", "600", "--idle-timeout", "600")


def large_file(scene: Scene) -> None:
    """A client sends a file of 100 MB, of which neither it nor the server keeps much."""
    scene.serve("--agencies", "1", "--winning-number", "1")
    (path,) = write_samples(str(scene.folder), agencies=1, bets=FILE_BETS, seed=29)
    size = path.stat().st_size
    began = time.monotonic()
    client = scene.start("bets-client", "send", str(path), "--server", scene.server.url, "--log-level", "INFO", "-q")
    highest = 0
    while client.running:
        highest = max(highest, rss_bytes(client.pid, "VmHWM"))
        time.sleep(0.02)
        assert time.monotonic() < began + 600, "the client does not come to an end"
    client.expect()
    server = rss_bytes(scene.server.pid, "VmHWM")
    scene.note(
        f"{size / MB:.0f} MB, {FILE_BETS} rows in {time.monotonic() - began:.0f} s; "
        f"client {highest / MB:.0f} MB, server {server / MB:.0f} MB"
    )
    assert size >= 100_000_000, f"the file has {size} bytes only"
    assert highest <= 64 * MB, f"the client needed {highest / MB:.1f} MB"
    assert server <= 256 * MB, f"the server needed {server / MB:.1f} MB"
    scene.stop(lines_at_most=200)
    assert scene.stored() == FILE_BETS


def many_connections(scene: Scene) -> None:
    """A thousand idle connections, and fifty that send as fast as they can, each with several batches on the way."""
    scene.serve(*ROOM, *PATIENT)
    idle = scene.mob(count=IDLE, rate=1000.0, ends_alone=False)
    wait_until(lambda: sockets(scene.server.pid) >= IDLE, "the idle ones are there")
    busy = [scene.honest(agency=1 + number % 5, batch=130, connections=10, label=f"{number}") for number in range(5)]
    time.sleep(max(5.0, scene.seconds))
    highest = rss_bytes(scene.server.pid, "VmHWM")
    batches = sum(len(each.ended()) for each in busy) * BUSY // len(busy)
    scene.note(f"server {highest / MB:.0f} MB with {idle.ended().left} idle and {BUSY} busy, {batches} batches stored")
    assert highest <= 256 * MB, f"the server needed {highest / MB:.1f} MB"
    scene.stop(lines_at_most=3 * IDLE + 500)


def parked(scene: Scene) -> None:
    """Ten thousand connections wait for the draw, and nearly as many are idle: little memory each, all are answered."""
    scene.serve("--agencies", "2", *ROOM, *PATIENT, "--backlog", "4096")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    idle_ones = min(PARKED, most - PARKED - OTHERS)
    before, sockets_before = rss_bytes(scene.server.pid), sockets(scene.server.pid)
    waiting = scene.mob(count=PARKED, rate=4000.0, per_address=200, opening=ask(1).hex(), expects=len(winners()))
    wait_until(lambda: sockets(scene.server.pid) >= sockets_before + PARKED, "all wait for the draw", 60)
    scene.probe(5.0)
    between = rss_bytes(scene.server.pid)
    idle = scene.mob(count=idle_ones, rate=4000.0, per_address=200, network=2, ends_alone=False)
    wait_until(lambda: sockets(scene.server.pid) >= sockets_before + PARKED + idle_ones, "all are idle", 60)
    scene.probe(5.0)
    after = rss_bytes(scene.server.pid)
    scene.note(f"{PARKED} parked: {(between - before) / PARKED / KB:.1f} KB each")
    scene.note(f"{idle_ones} idle: {(after - between) / idle_ones / KB:.1f} KB each")
    check_memory(before, between, PARKED * 10 * KB, f"{PARKED} parked connections")
    check_memory(between, after, idle_ones * 10 * KB, f"{idle_ones} idle connections")
    with contextlib.closing(connected(scene.port)) as sock:
        began = time.monotonic()
        sock.sendall(ask(2))
        assert exactly(sock, 2) == winners()
        tale = waiting.done(60)
    assert tale.answered == PARKED, f"{tale.answered} of {PARKED} were answered after the draw"
    scene.note(f"all answered {tale.answered_at - began:.1f} s after the draw")
    assert idle.ended().left == idle_ones, "idle connections were lost"
    scene.stop(lines_at_most=3 * (PARKED + idle_ones) + 100)


def without_descriptors() -> str:
    """The obstacle where this machine does not allow a process enough descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = PARKED + PARKED // 2 + OTHERS
    return "" if most >= needed else f"{most} descriptors are allowed, {needed} needed: ulimit -n"
