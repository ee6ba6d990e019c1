"""The fuzz targets hold: of every input that is kept, and of those that hypothesis makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.engines import strategy, time_limit
from fuzz.inputs import CORPUS, MAX_KEPT, MAX_KEPT_BYTES, corpus_of, known_inputs
from fuzz.targets import NATIVE, SEEDS, TARGETS
from tests.effort import examples

KEPT = [path.relative_to(CORPUS) for name in TARGETS for path in corpus_of(name)]
SLOW = {"sessions": 5, "damage": 15}
"""Examples of those whose inputs take long; 25 of the others."""


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_kept_inputs_break_nothing(kept: Path) -> None:
    """What once broke something does not do it again; an input that took for ever fails."""
    with time_limit():
        TARGETS[kept.parent.name]((CORPUS / kept).read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_new_inputs_break_nothing(target: str) -> None:
    """Damaged and joined inputs of the corpus, and random bytes."""
    inputs: st.SearchStrategy[bytes] = strategy(known_inputs([target, *SEEDS.get(target, ())]))

    @settings(max_examples=examples(SLOW.get(target, 25)))
    @given(inputs)
    def hold(data: bytes) -> None:
        with time_limit():
            TARGETS[target](data)

    hold()


def test_every_target_has_inputs_to_begin_with() -> None:
    """Few and small ones, so that this test can replay all of them; without any the fuzzer would have random bytes."""
    assert {name for name in TARGETS if not 1 <= len(corpus_of(name)) <= MAX_KEPT} == set()
    assert [path for path in KEPT if (CORPUS / path).stat().st_size > MAX_KEPT_BYTES] == []


def test_the_corpus_holds_inputs_of_targets_only() -> None:
    """An input that no target reads would test nothing."""
    assert {path.relative_to(CORPUS).parts[0] for path in CORPUS.rglob("*.bin")} == set(TARGETS)
    assert NATIVE | set(SEEDS) <= set(TARGETS)


def test_every_target_is_explained() -> None:
    """The page on reliability has one table of them, in their order."""
    page = (CORPUS.parent.parent / "docs" / "reliability.md").read_text()
    table = page.split("| target | reads |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`[a-z`, ]+`) \| ", table, re.MULTILINE)
    assert [name for row in rows for name in re.findall("`([a-z]+)`", row)] == list(TARGETS)
