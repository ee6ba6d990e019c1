"""Attacks by number: more connections than there are descriptors or places, all at once, again and again."""

from __future__ import annotations

import contextlib
import time

from bets_server.reactor.listeners import SPARE_DESCRIPTORS
from tests.campaigns.attacks.legitimate import connected
from tests.campaigns.attacks.scene import Scene, check_cuts, check_memory
from tests.campaigns.attacks.watch import MB, cpu_s, descriptors, rss_bytes
from tests.e2e.processes import wait_until

FLOOD = 5000
DESCRIPTORS = 64
QUIET_S = 3.0
MOST_CPU = 0.2


def out_of_descriptors(scene: Scene) -> None:
    """Five thousand connections to a server that may have 64 descriptors."""
    scene.serve(descriptors=DESCRIPTORS)
    honest = scene.honest()
    before = scene.rest()
    with scene.watch() as watch, contextlib.closing(connected(scene.port)) as early:
        usual, usual_descriptors, began = rss_bytes(scene.server.pid), descriptors(scene.server.pid), time.monotonic()
        mob = scene.mob(count=FLOOD, ends_alone=False)
        most = DESCRIPTORS - SPARE_DESCRIPTORS
        wait_until(lambda: descriptors(scene.server.pid) >= most - 2, "the descriptors are in use", 10)
        time.sleep(scene.seconds)
        attacked = (began, time.monotonic())
        with honest.asleep():
            busy = _share_of_a_core(scene, QUIET_S)
        assert busy < MOST_CPU, f"{busy:.0%} of a core with nothing to do, expected less than {MOST_CPU:.0%}"
        scene.note(f"idle CPU {busy:.1%}")
        early.sendall(b"still there?\n")
        assert early.recv(100) == b"still there?\n", "a connection that was in before was cut"
        tale = mob.ended()
        scene.note(f"accepts {scene.probe(1.0) * 1000:.0f} ms after the flood of {tale.connected}")
        scene.note(check_memory(usual, watch.highest_rss(began), 16 * MB, "a flood"))
    scene.wait_for_quiet(usual_descriptors, 5)
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    # One line for each that got in and out, and one a second while none gets in.
    scene.stop(lines_at_most=3 * FLOOD, nothing_else_stored=True)


def no_places_left(scene: Scene) -> None:
    """Five thousand connections, begun anew as often as they are refused, to a server that takes 1,024, and 64 each."""
    scene.serve()
    honest = scene.honest()
    before = scene.rest()
    with scene.watch() as watch:
        usual, usual_descriptors, began = rss_bytes(scene.server.pid), descriptors(scene.server.pid), time.monotonic()
        # As fast as one core of an attacker goes without making this machine's other one busy, too.
        mob = scene.mob(count=FLOOD, per_address=80, rate=3000.0, again=True, ends_alone=False)
        time.sleep(max(scene.seconds, 6.0))
        attacked = (began, time.monotonic())
        tale = mob.ended()
        assert tale.ages, "nobody was refused"
        scene.note(f"{tale.connected} connected, {len(tale.ages)} refused")
        scene.note(check_memory(usual, watch.highest_rss(began), 64 * MB, "a flood"))
        scene.note(f"accepts {scene.probe(1.0) * 1000:.0f} ms after it")
    scene.wait_for_quiet(usual_descriptors, 5)
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    # Each address: 64 that are let in, and a few lines for all the others.
    scene.stop(lines_at_most=6 * 1024 + 10 * FLOOD // 80, nothing_else_stored=True)


def accept_burst(scene: Scene) -> None:
    """Five thousand connections within two seconds to a server that has room for them: each is let in and answered."""
    scene.serve("--max-connections", "6000", "--backlog", "4096")
    honest = scene.honest()
    before = scene.rest()
    attacked = []
    with scene.watch() as watch:
        usual, usual_descriptors, since = rss_bytes(scene.server.pid), descriptors(scene.server.pid), time.monotonic()
        for _ in range(3):
            began = time.monotonic()
            # Likewise.
            mob = scene.mob(count=FLOOD, rate=2500.0, opening=b"hello\n".hex(), expects=6)
            tale = mob.done(30)
            attacked.append((began, time.monotonic()))
            assert tale.answered == FLOOD, f"{tale.answered} of {FLOOD} were answered, {tale}"
            scene.note(f"answered in {tale.answered_at - tale.began:.1f} s")
        scene.note(check_memory(usual, watch.highest_rss(since), 64 * MB, "a burst"))
    scene.wait_for_quiet(usual_descriptors, 5)
    after = scene.rest()
    scene.judge(honest, [before, after], attacked)
    scene.stop(lines_at_most=9 * FLOOD + 100, nothing_else_stored=True)


def key_changes(scene: Scene) -> None:
    """Two agencies wait for the draw, change keys without end, are cut, and come again: it costs no memory, and little
    else."""
    scene.serve(tls=True)
    honest = scene.honest(tls=scene.agency_files(1))
    before = scene.rest()
    with scene.watch() as watch:
        usual, usual_descriptors, began = rss_bytes(scene.server.pid), descriptors(scene.server.pid), time.monotonic()
        changers = [scene.key_changer(agency) for agency in (2, 3)]
        time.sleep(max(scene.seconds, 3.0))
        attacked = (began, time.monotonic())
        tales = [changer.ended() for changer in changers]
        ages = [age for tale in tales for age in tale.ages]
        assert ages, "nobody was cut"
        cut = check_cuts(ages, sum(tale.shaken - tale.left for tale in tales), 1)
        scene.note(f"{cut}, counted from the first change of keys")
        scene.note(check_memory(usual, watch.highest_rss(began), 16 * MB, "changes of keys"))
    scene.wait_for_quiet(usual_descriptors, 5)
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    scene.stop(lines_at_most=100 + 5 * sum(tale.connected for tale in tales), nothing_else_stored=True)


def _share_of_a_core(scene: Scene, seconds: float) -> float:
    before, began = cpu_s(scene.server.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(scene.server.pid) - before) / (time.monotonic() - began)
