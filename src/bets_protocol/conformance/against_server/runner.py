"""All rules of a revision, one after the other, against one server."""

from __future__ import annotations

from collections.abc import Iterator

from bets_protocol import ConnectError, TransportError
from bets_protocol.cli.signals import raise_if_stopped
from bets_protocol.conformance.against_server import rules_draw, rules_intake, rules_refusals, rules_uploads
from bets_protocol.conformance.against_server.target import Bench, NotTried, Rule
from bets_protocol.conformance.against_server.wire_client import Broken
from bets_protocol.conformance.report import Finding, Result

RULES: tuple[Rule, ...] = (*rules_intake.RULES, *rules_uploads.RULES, *rules_refusals.RULES, *rules_draw.RULES)
"""In the order in which they are tried: what takes many connections before most of what is refused, since a server may
make clients wait that are refused often; what is about the draw, which closes it, comes last."""

_NO_DRAW = "rules about the draw seal agencies and bring the draw about: --draw-too tries them"


def examine(bench: Bench, *, draw_too: bool) -> Iterator[Finding]:
    """Tries every rule of the bench's revision; gives each finding as it comes.

    Args:
        draw_too: whether those may be tried that bring the draw about.

    Raises:
        ConnectError: no server is there.
        ConfigError: the URL makes no sense.
    """
    try:
        bench.talk().__exit__(None, None, None)
    except ConnectError as error:
        raise ConnectError(f"{bench.url}: {error}") from error
    for rule in RULES:
        if bench.revision not in rule.revisions:
            continue
        raise_if_stopped()
        result, came = _tried(rule, bench) if draw_too or not rule.draws else (Result.NOT_TRIED, _NO_DRAW)
        yield Finding(rule=rule.name, section=rule.section, expected=rule.expected, result=result, came=came)


def _tried(rule: Rule, bench: Bench) -> tuple[Result, str]:
    try:
        rule.check(bench)
    except (Broken, TransportError) as error:
        return Result.FAILED, str(error)
    except NotTried as reason:
        return Result.NOT_TRIED, str(reason)
    finally:
        bench.settle()
    return Result.PASSED, ""
