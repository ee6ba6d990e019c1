"""The harness of the attacks itself: what is too slow, too much or too late is found; only noise gets another try."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.campaigns.attacks.__main__ import main
from tests.campaigns.attacks.campaign import ATTACKS, chosen, run_campaign
from tests.campaigns.attacks.crowd import Crowd, Orders
from tests.campaigns.attacks.kinds import TRIES, Attack
from tests.campaigns.attacks.scene import Honest, Scene, TooSlow, check_cuts, check_memory, p99
from tests.campaigns.attacks.soak import check_slopes
from tests.campaigns.attacks.watch import MB, Sample, Watch, cpu_s, descriptors, rss_bytes, threads
from tests.e2e.processes import Program, Programs
from tests.server.serving import wait_until


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A world without a server."""
    scene = Scene(tmp_path, 0.0)
    try:
        yield scene
    finally:
        scene.close()


class NotedClient(Honest):
    """An honest client that has ended, and what it noted."""

    def __init__(self, program: Program, noted: list[tuple[float, float]]) -> None:
        super().__init__(program, Path("/nonexistent"), batch=10)
        self._noted = noted

    def ended(self) -> list[tuple[float, float]]:
        return self._noted


@pytest.mark.parametrize(("under_attack_s", "held"), [(0.0019, True), (0.0021, False)])
def test_twice_as_slow_is_the_bar(scene: Scene, tmp_path: Path, under_attack_s: float, held: bool) -> None:
    """The 99th percentile before and after, together, against that under attack."""
    programs = Programs(tmp_path)
    program = programs.run("python", "-c", "")
    noted = [(at / 1000, under_attack_s if 300 <= at < 600 else 0.001) for at in range(900)]
    client = NotedClient(program, noted)
    usual, attacked = [(0.0, 0.2995), (0.6, 1.0)], [(0.3, 0.6)]
    pace = scene.judge(client, usual, attacked)
    assert (round(pace.ratio, 2), round(pace.noise, 2), pace.samples) == ((1.9, 1.0, 299) if held else (2.1, 1.0, 298))
    assert (scene.too_slow is None) == held
    assert held or "p99 1.0 -> 2.1 ms" in str(scene.too_slow)
    programs.close()


def test_few_samples_prove_nothing() -> None:
    """A percentile of a handful is none."""
    with pytest.raises(AssertionError, match="7 samples are too few"):
        p99([1.0] * 7)


def test_bars() -> None:
    """Cuts that lack or come late, memory beyond, what grows."""
    assert check_cuts([1.0, 10.9], 2, 10) == "2 cut within 10.9 s"
    with pytest.raises(AssertionError, match="1 of 2 connections were cut"):
        check_cuts([1.0], 2, 10)
    with pytest.raises(AssertionError, match=r"the last was cut after 11\.1 s"):
        check_cuts([1.0, 11.1], 2, 10)
    assert check_memory(MB, 3 * MB, 2 * MB, "that") == "RSS +2.0 MB"
    with pytest.raises(AssertionError, match=r"that: 3\.0 MB more"):
        check_memory(MB, 4 * MB, 2 * MB, "that")
    steady = [Sample(float(at), 30 * MB, 14, 6) for at in range(8)]
    check_slopes(steady, print)
    with pytest.raises(AssertionError, match="descriptors grew from 14 to 15"):
        check_slopes([*steady[:6], *(attrs.evolve(look, descriptors=15) for look in steady[6:])], print)
    with pytest.raises(AssertionError, match="rss grew"):
        check_slopes([*steady[:6], *(attrs.evolve(look, rss=60 * MB) for look in steady[6:])], print)


def test_a_process_is_watched(tmp_path: Path) -> None:
    """Memory, processor time, descriptors and threads of a process that uses some of each."""
    programs = Programs(tmp_path)
    code = "import threading; x = bytearray(40_000_000); sum(range(3_000_000)); f = [open('/dev/null') for _ in 'abc']"
    wait = "; t = threading.Event(); threading.Thread(target=t.wait, daemon=True).start(); print('ready', flush=True)"
    program = programs.python(f"{code}{wait}; t.wait()")
    program.wait_for_text("ready")
    with Watch(program.pid) as watch:
        wait_until(lambda: watch.samples, "a sample")
    assert watch.highest_rss() > 40_000_000
    assert rss_bytes(program.pid, "VmHWM") >= watch.highest_rss()
    assert cpu_s(program.pid) > 0.01
    assert descriptors(program.pid) == 6
    assert threads(program.pid) == 2
    programs.close()
    assert rss_bytes(program.pid) == 0


@pytest.mark.parametrize("cuts", [True, False])
def test_a_crowd_tells_who_was_cut(cuts: bool) -> None:
    """From addresses of its own; what was cut, and what was still there."""
    addresses: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as kept:
        crowd = Crowd(Orders(port=listener.getsockname()[1], count=4, per_address=2, network=9, drip=b"x".hex()))

        def serve() -> None:
            for _ in range(4):
                sock, (address, _) = listener.accept()
                kept.enter_context(sock)
                addresses.append(address)
                if sock.recv(1) == b"x" and cuts:
                    sock.close()
            crowd.told_to_end = not cuts

        thread = threading.Thread(target=serve)
        thread.start()
        crowd.run()
        thread.join()
        crowd.close()
    assert sorted(addresses) == ["127.0.9.1", "127.0.9.1", "127.0.9.2", "127.0.9.2"]
    assert (crowd.tale.connected, len(crowd.tale.ages), crowd.tale.left) == (4, 4 if cuts else 0, 0 if cuts else 4)


def _attack(error: Exception | None, tries: list[str]) -> Attack:
    def run(scene: Scene) -> None:
        tries.append(scene.folder.name)
        scene.note("a note")
        if error is not None:
            raise error

    return Attack(name="made-up", row="0", run=run)


@pytest.mark.parametrize(
    ("error", "tries", "verdict"),
    [(None, 1, "held"), (TooSlow("slow"), TRIES, "MISSED"), (AssertionError("late"), 1, "MISSED")],
)
def test_only_noise_gets_another_try(
    error: Exception | None, tries: int, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was too slow is tried again, what was wrong is wrong; the table and the exit say so."""
    tried: list[str] = []
    good = run_campaign([_attack(error, tried)], seconds=0.0, keep=tmp_path, say=print, strict=True)
    assert (good, len(tried)) == (error is None, tries)
    out = capsys.readouterr().out
    assert f"made-up          0      {verdict}" in out
    assert "a note" in out


def test_pace_alone_fails_nothing_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is measured and shown: on a machine that others use it says more of them."""
    assert run_campaign([_attack(TooSlow("slow"), [])], seconds=0.0, keep=None, say=print)
    out = capsys.readouterr().out
    assert "made-up          0      slow" in out
    assert "0 of 1 did not hold; 1 slowed the honest client down more than twice" in out


def test_attacks_are_chosen() -> None:
    """By row or by name; an obstacle is told."""
    assert [attack.name for attack in chosen(["22"])] == ["never-reads", "sips"]
    assert [attack.name for attack in chosen(["parked"])] == ["parked"]
    assert chosen([]) == list(ATTACKS.values())
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])


def test_an_attack_that_cannot_be_made_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason."""
    attack = attrs.evolve(_attack(None, []), obstacle=lambda: "no descriptors")
    assert run_campaign([attack], seconds=0.0, keep=None, say=print)
    assert "made-up          0      skipped: no descriptors" in capsys.readouterr().out
