"""What the kit for other languages consists of is there, and is of today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bets_protocol import RejectCode
from bets_protocol.conformance.against_client.rules import RULES as CLIENT_RULES
from bets_protocol.conformance.against_client.scenarios import SCENARIO_NAMES, SCENARIOS
from bets_protocol.conformance.against_server.runner import RULES
from bets_protocol.conformance.report import Rule

PROJECT = Path(__file__).resolve().parents[2]


def _client_rules() -> list[Rule]:
    return [*CLIENT_RULES, *(scenario.rule for scenario in SCENARIOS)]


def test_the_gathered_golden_files_are_those_of_the_tests() -> None:
    """The one file of the kit is not stale."""
    command = [sys.executable, "-m", "scripts.conformance_kit", "--check"]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_rules_name_sections_of_the_document() -> None:
    """Whoever breaks a rule finds it there."""
    page = (PROJECT / "docs" / "protocol.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (.+)$", page, re.MULTILINE))
    named = {rule.section for rule in RULES} | {rule.section for rule in _client_rules()}
    assert named - headings == set()


def test_rules_have_names_of_their_own() -> None:
    """Names are a contract with scripts; each says what is expected in a sentence."""
    for named in (
        [(rule.name, rule.expected) for rule in RULES],
        [(one.name, one.expected) for one in _client_rules()],
    ):
        names = [name for name, _ in named]
        assert sorted(set(names)) == sorted(names)
        assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []
        assert [name for name, expected in named if not expected.endswith(".")] == []


def _section(heading: str) -> str:
    """What the page says under a heading, and under those below it."""
    page = (PROJECT / "docs" / "conformance" / "index.md").read_text(encoding="utf-8")
    return re.split(r"^## ", page.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_code_is_tried() -> None:
    """A server says each code, or the page says why it cannot be made to; a client hears each but 0 and 16."""
    tried = " ".join(rule.expected for rule in RULES)
    left_out = {f"{code.value} ({code.name})" for code in RejectCode if f"{code.value} ({code.name})" not in tried}
    assert left_out == {"0 (OK)", "10 (BUSY)", "11 (STORE_FULL)", "13 (SHUTTING_DOWN)"}
    assert [said for said in sorted(left_out - {"0 (OK)"}) if said not in _section("Checking a server")] == []
    played = " ".join(scenario.says for scenario in SCENARIOS)
    assert [code.name for code in RejectCode if f"{code.value} ({code.name})" not in played] == ["OK", "DRAWN"]


def test_the_page_lists_the_scenarios() -> None:
    """None is missing on the page, and none is made up."""
    page = (PROJECT / "docs" / "conformance" / "index.md").read_text(encoding="utf-8")
    assert set(SCENARIO_NAMES) == set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
