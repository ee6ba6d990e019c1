"""A soak: for as long as one likes, attacks drawn at random hit one server that takes real uploads; nothing may grow.

Between two attacks, when the server has let go of the crowd, it is looked at: memory, descriptors and threads must not
have a slope. What drifts to its usual size in the beginning does not count.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bets_client.input.sample import write_samples
from tests.campaigns.attacks.scene import Scene
from tests.campaigns.attacks.watch import MB, Sample, descriptors, rss_bytes, sockets, threads
from tests.e2e.processes import wait_until
from tests.server.wire import batch, bet, bets

AGENCIES = 5
UPLOAD_BETS = 3000
MOST_GROWTH = 8 * MB
LEAST_LOOKS = 4
QUIET_WITHIN_S = 20.0

MISCHIEF: dict[str, dict[str, Any]] = {
    "slow-loris": {"count": 500, "drip": batch(bet(1)).hex(), "period_s": 1.0},
    "dripping frames": {"count": 16, "drip": batch(*bets(range(200))).hex(), "period_s": 0.005},
    "silence": {"count": 900},
    "flood": {"count": 3000, "rate": 1000.0, "per_address": 80, "again": True},
    "coming and going": {"count": 3000, "rate": 1000.0, "gone": True},
    "noise": {"count": 300, "rate": 200.0, "opening": "ff" * 3000},
    "lies": {"count": 300, "rate": 200.0, "opening": (b"\x01\xff\xff\xff" + bytes(2000)).hex()},
    "bad values": {"count": 200, "rate": 100.0, "opening": batch(bet(1, birthdate=b"2020-W01-1")).hex()},
    "probes": {"count": 1000, "rate": 500.0, "opening": b"hello\n".hex(), "expects": 6},
    "unread answers": {"count": 32, "opening": batch(bet(1, number=65535)).hex() * 500, "reads": False},
}
"""What a crowd may do; see `crowd.Orders`."""


def run_soak(seconds: float, *, seed: int, keep: Path | None, say: Callable[[str], None]) -> bool:
    """Soaks a server for so long; says how it went, and gives whether all held."""
    name = tempfile.mkdtemp(prefix="bets-soak-", dir=keep)
    scene = Scene(Path(name), 0.0)
    try:
        _soak(scene, seconds, random.Random(seed), say)
    except AssertionError as error:
        say(f"FAILED, seed {seed}: {error}; everything lies in {name}")
        return False
    finally:
        scene.close()
    shutil.rmtree(name)
    say("all held")
    return True


def _soak(scene: Scene, seconds: float, choice: random.Random, say: Callable[[str], None]) -> None:
    files = write_samples(str(scene.folder), agencies=AGENCIES, bets=UPLOAD_BETS, seed=choice.randrange(2**31))
    server = scene.serve("--agencies", "200")
    honest = scene.honest(agency=100, pause_s=0.01)
    usual = sockets(server.pid)
    looks: list[Sample] = []
    uploaded, began = 0, time.monotonic()
    while time.monotonic() < began + seconds or len(looks) < LEAST_LOOKS:
        what = choice.choice(list(MISCHIEF))
        mob = scene.mob(**MISCHIEF[what], ends_alone=False)
        file = choice.choice(files)
        label = ("--label", str(uploaded), "--no-winners", "-q")
        client = scene.start("bets-client", "send", str(file), "--server", server.url, *label)
        client.expect()
        uploaded += 1
        time.sleep(choice.uniform(0.5, min(8.0, max(1.0, seconds / 10))))
        mob.ended()
        wait_until(lambda: sockets(server.pid) <= usual, f"the server has let go of {what}", QUIET_WITHIN_S)
        assert server.running, f"the server has ended:\n{server.out[-2000:]}{server.err}"
        scene.probe(5.0)
        looks.append(Sample(time.monotonic(), rss_bytes(server.pid), descriptors(server.pid), threads(server.pid)))
        say(f"{looks[-1].at - began:7.0f} s  {looks[-1].rss / MB:6.1f} MB  {looks[-1].descriptors} descriptors  {what}")
    check_slopes(looks, say)
    batches = len(honest.ended())
    scene.stop(lines_at_most=200 * len(looks) + 10_000 * len(looks))
    promised = batches * 50 + uploaded * UPLOAD_BETS
    assert scene.stored() == promised, f"{scene.stored()} bets are stored, {promised} were acknowledged"


def check_slopes(looks: Sequence[Sample], say: Callable[[str], None]) -> None:
    """The last quarter of the looks against the second one."""
    quarter = max(1, len(looks) // 4)
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]
    # The least of descriptors and threads: that of a probe may not be given back yet.
    for what, of_quarter, most in (
        ("rss", statistics.median, MOST_GROWTH),
        ("descriptors", min, 0),
        ("threads", min, 0),
    ):
        before, after = (of_quarter([getattr(look, what) for look in some]) for some in (early, late))
        say(f"{what}: {before:.0f} in the second quarter, {after:.0f} in the last")
        assert after - before <= most, f"{what} grew from {before:.0f} to {after:.0f}"
