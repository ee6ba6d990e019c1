"""The fuzz targets hold: of every input that is kept, and of those that hypothesis makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.__main__ import CORPUS, corpus_of, inputs, main, run_round
from fuzz.targets import TARGETS
from tests.effort import examples

PROJECT = Path(__file__).resolve().parent.parent.parent
KEPT = [(name, path.name) for name in TARGETS for path in corpus_of(name)]


@pytest.mark.parametrize(("target", "name"), KEPT)
def test_kept_inputs_break_nothing(target: str, name: str) -> None:
    """What once broke something does not do it again."""
    TARGETS[target]((CORPUS / target / name).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_new_inputs_break_nothing(target: str, data: st.DataObject) -> None:
    """Damaged and joined inputs of the corpus, and random bytes."""
    TARGETS[target](data.draw(inputs(target)))


def test_every_target_has_inputs_to_begin_with() -> None:
    """An empty corpus would leave the fuzzer with random bytes."""
    assert [name for name in TARGETS if not corpus_of(name)] == []


def test_the_fuzzer_says_what_it_did() -> None:
    """Seed, engine, inputs; exit code 0 where nothing was found."""
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "--seconds", "0", "--target", "lots", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PROJECT,
    )
    assert (run.returncode, run.stderr) == (0, "")
    first, second = run.stdout.splitlines()
    assert first.startswith("hypothesis ")
    assert ", seed 7, corpus " in first
    assert second.startswith("lots: 200 inputs in ")


def test_the_fuzzer_keeps_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest input that fails is written into the corpus, and the exit code is 1."""

    def no_x(data: bytes) -> None:
        """No input has an x."""
        assert b"x" not in data

    (tmp_path / "no_x").mkdir()
    (tmp_path / "no_x" / "seed.bin").write_bytes(b"abcxyz")
    assert main(["--seconds", "0", "--seed", "1"], targets={"no_x": no_x}, corpus=tmp_path) == 1
    (found,) = (tmp_path / "no_x").glob("found-*.bin")
    assert b"x" in found.read_bytes()
    printed = capsys.readouterr().out
    assert "no_x: broken by" in printed
    assert str(found) in printed


def test_the_same_seed_makes_the_same_inputs(tmp_path: Path) -> None:
    """So what was found once can be found again."""

    def inputs_of(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        assert run_round("lots", seen.append, seed) is None
        return seen

    assert inputs_of(3) == inputs_of(3) != inputs_of(4)
    assert run_round("lots", lambda _: None, 3, tmp_path) is None  # an empty corpus will do
