"""Tries the rules of a revision, one after the other, against one server."""

from __future__ import annotations

from collections.abc import Iterator

from bets_protocol import ConnectError, TransportError
from bets_protocol.cli.signals import raise_if_stopped
from bets_protocol.conformance.against_server import rules_draw, rules_intake, rules_refusals, rules_uploads
from bets_protocol.conformance.against_server.target import NotTried, ServerRule, Target
from bets_protocol.conformance.against_server.wire_client import Broken
from bets_protocol.conformance.report import Finding, Result

RULES: tuple[ServerRule, ...] = (*rules_intake.RULES, *rules_uploads.RULES, *rules_refusals.RULES, *rules_draw.RULES)
"""In the order in which they are tried. Rules that take many connections come before most rules about refusals, since a
server may make a client wait that is refused often. Rules about the draw come last, since they bring it about."""

_NO_DRAW = "rules about the draw seal agencies and bring the draw about: --draw-too tries them"


def examine(target: Target, *, draw_too: bool) -> Iterator[Finding]:
    """Tries every rule of the target's revision and yields each finding as it comes.

    Args:
        draw_too: whether to try the rules that bring the draw about.

    Raises:
        ConnectError: no server is there.
        ConfigError: the URL is not valid.
    """
    try:
        with target.connect():
            pass
    except ConnectError as error:
        raise ConnectError(f"{target.url}: {error}") from error
    for rule in RULES:
        if target.revision not in rule.revisions:
            continue
        raise_if_stopped()
        result, came = (
            _tried(rule, target) if draw_too or rule not in rules_draw.RULES else (Result.NOT_TRIED, _NO_DRAW)
        )
        yield Finding(rule, result, came)


def _tried(rule: ServerRule, target: Target) -> tuple[Result, str]:
    try:
        rule.check(target)
    except (Broken, TransportError) as error:
        return Result.FAILED, str(error)
    except NotTried as reason:
        return Result.NOT_TRIED, str(reason)
    finally:
        target.finish_uploads()
    return Result.PASSED, ""
