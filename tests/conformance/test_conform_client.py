"""`bets-server conform`: right clients keep every rule, and of wrong ones those rules fail that they break."""

from __future__ import annotations

import pytest

from bets_protocol.programs.rulebook import Finding, Result
from bets_protocol.transports import listen
from bets_server.conformance.host import Host
from bets_server.conformance.scenarios import Scenario, scenarios_of
from tests.conformance.tiny_client import TinyClient
from tests.conformance.wrong_clients import WRONG, TalksNonsense
from tests.effort import PROFILE

TRIED = WRONG if PROFILE != "few" else WRONG[::4]
"""On one Python all of them: what they show is the same on every other."""


SLOW = {"pieces", "overload", "incomplete", "waits", "lists"}
"""Of revision 9 those that take their time: a wrong client plays them where they are about what is wrong with it."""


def _scenarios(revision: int, rules: set[str]) -> list[Scenario]:
    return [one for one in scenarios_of(revision) if revision < 9 or one.name not in SLOW or one.rule.name in rules]


def _checked(kind: type[TinyClient], revision: int, scenarios: list[Scenario] | None = None) -> list[Finding]:
    """What is found of a client that runs once for each scenario."""
    with listen("tcp://127.0.0.1:0") as listener:
        host = Host(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision) if scenarios is None else scenarios,
            start=lambda: kind(listener.url, revision),
            limit_s=5.0,
            say=lambda _: None,
        )
        host.play()
    return host.findings()


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_a_right_client_keeps_every_rule(revision: int) -> None:
    """None fails, and none is left out."""
    findings = _checked(TinyClient, revision)
    assert [(one.rule, one.came) for one in findings if one.result is not Result.PASSED] == []


@pytest.mark.parametrize("revision", [5, 8, 9])
def test_a_client_that_talks_nonsense(revision: int) -> None:
    """Whatever comes, each rule gets its finding, and nothing is raised."""
    broken = {one.rule for one in _checked(TalksNonsense, revision) if one.result is Result.FAILED}
    assert broken >= {"frames-fit-their-layout", "messages-are-sent-whole"}


@pytest.mark.parametrize(("kind", "revision", "rules"), TRIED, ids=[kind.__name__ for kind, _, _ in TRIED])
def test_a_wrong_client_breaks_its_rules_and_no_others(kind: type[TinyClient], revision: int, rules: set[str]) -> None:
    """Each is wrong in one way."""
    findings = _checked(kind, revision, _scenarios(revision, rules))
    broken = {one.rule: one.came for one in findings if one.result is Result.FAILED}
    assert rules == set(broken), broken
