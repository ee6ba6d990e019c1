"""The fuzzer finds what is planted, keeps it, and says what it did; with each engine that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.__main__ import main
from fuzz.engines import ENGINES, Target, installed_engine, read_output, run_round, shrink
from fuzz.inputs import corpus_of, keep, known_inputs, name_of
from fuzz.minimise import minimise
from fuzz.targets import TARGETS
from tests.fuzzing import planted

HERE = [engine for engine in ENGINES if engine in {installed_engine(), "hypothesis"}]


def fuzz(corpus: Path, *arguments: str) -> int:
    """Runs the fuzzer over the planted targets."""
    return main(["--targets-from", planted.__name__, "--corpus", str(corpus), "--seconds", "20", *arguments])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus whose inputs break nothing."""
    for name in planted.TARGETS:
        keep(name, b"abc", tmp_path, prefix="")
    return tmp_path


@pytest.mark.parametrize("engine", HERE)
def test_a_planted_bug_is_found_and_its_input_kept(
    engine: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The smallest input that fails is in the corpus; the error is shown; the exit code says so."""
    arguments = ("--engine", engine, "--seed", "1", "--max-inputs", "600", "--jobs", "2")
    assert fuzz(corpus, *arguments, "--target", "no_mark", "--target", "no_bug") == 1
    (found,) = set(corpus_of("no_mark", corpus)) - {corpus / "no_mark" / f"{name_of(b'abc')}.bin"}
    assert found.read_bytes() == planted.MARK
    assert found.name == f"found-{name_of(planted.MARK)}.bin"
    printed = capsys.readouterr().out
    assert printed.startswith(f"engine: {engine} ")
    assert ", seed 1, " in printed.splitlines()[0].replace(";", ",")
    assert "AssertionError: planted" in printed
    assert f"by b'!', kept as {found} (seed 1)" in printed
    assert "no_bug: " in printed
    assert printed.splitlines()[-1].endswith("inputs in all: an invariant is broken")


def test_nothing_found_is_success(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; the inputs are counted."""
    assert fuzz(corpus, "--engine", "hypothesis", "--max-inputs", "200", "--target", "no_bug") == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("engine: hypothesis ")
    assert "not coverage-guided" in first
    assert second.startswith("no_bug: 200 inputs in ")
    assert second.endswith(", nothing found")
    assert last == "200 inputs in all: nothing found"


def test_a_process_that_dies_is_no_success(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows whether anything holds."""
    assert fuzz(corpus, "--engine", "hypothesis", "--target", "dies") == 2
    assert "dies: could not be run, code 3" in capsys.readouterr().out


def test_a_target_that_is_none_is_refused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the names of those that there are."""
    with pytest.raises(SystemExit, match="2"):
        fuzz(corpus, "--target", "nothing")
    assert "no target 'nothing'; expected one of no_mark, no_bug, dies, sleeps" in capsys.readouterr().err


def test_the_same_seed_makes_the_same_inputs() -> None:
    """So what was found once can be found again; atheris promises the same of its seed."""

    def inputs_of(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        assert run_round([b"abcdefgh"], seen.append, seed) is None
        return seen

    assert inputs_of(3) == inputs_of(3) != inputs_of(4)
    assert run_round([], lambda _: None, 3) is None  # an empty corpus will do


def test_a_finding_is_made_small() -> None:
    """What does not matter is left out or made zero; what breaks in another way is another bug."""

    def picky(data: bytes) -> None:
        """Two bugs."""
        if len(data) >= 5 and data[:1] == b"a":
            raise KeyError("planted")
        assert b"!" not in data

    assert shrink(picky, b"zzzz!zzzz") == b"!"
    assert shrink(picky, b"abcdefgh!") == b"a\0\0\0\0"
    assert shrink(picky, b"fine") == b"fine"


def test_the_output_of_libfuzzer_is_read() -> None:
    """The last numbers count; the trace ends before libFuzzer's own report."""
    text = (
        "#2\tINITED cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 46Mb\n#9\tNEW    cov: 12 ft: 13\n"
        "\n === Uncaught Python exception: ===\nValueError: found\nTraceback (most recent call last):\n  File\n\n"
        "==15411== ERROR: libFuzzer: fuzz target exited\nstat::number_of_executed_units: 116491\n"
    )
    said = read_output(text)
    assert (said.inputs, said.edges) == (116491, 12)
    assert said.trace == "ValueError: found\nTraceback (most recent call last):\n  File"
    assert (read_output("").inputs, read_output("").trace) == (0, "")


def test_only_inputs_that_show_something_new_are_taken(tmp_path: Path) -> None:
    """Small ones first; what takes the same way through the project's code is left where it is."""
    target: Target = TARGETS["texts"]
    keep("texts", b"tcp://a:1", tmp_path, prefix="")
    new = [b"tcp://b:2", b"tcp://c:3", b"unix:///a-longer-path", b"unix:///p"]
    assert minimise("texts", target, new, tmp_path) == (1, 2)
    assert set(known_inputs(["texts"], tmp_path)) == {b"tcp://a:1", b"unix:///p"}
