"""`bets-client winners`: asks again for an agency's winners. Asking says that the agency has sent everything.

There is no file here and so no upload, and without one revision 9 has no question: it is asked on revision 8, which
every server of revision 9 speaks too.

Before the draw that seals the agency, which nobody takes back by asking. So a person at a terminal is asked first; a
program, which has no terminal, means what it says.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from bets_client.config import load_settings, require_agency, require_winners
from bets_client.errors import Refused
from bets_client.report import AgencyReport, Report
from bets_client.run_context import RunContext, working
from bets_client.upload.own_certificate import require_own_agency
from bets_client.upload.running import Running
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.signals import Stopped, interruptible, work_begins
from bets_protocol.client.winners import WinnersCollector

_REVISION = 8


def run(options: Mapping[str, Any]) -> None:
    """Get the winners of the agency that `options` and the environment give."""
    work_begins()
    settings = load_settings(options, os.environ)
    require_winners(settings)
    if settings.exactly_once:
        settings = attrs.evolve(settings, revision=_REVISION)
    agency = require_agency(settings)
    with working(settings) as context:
        context.log_config([agency])
        report = Report(context, "winners")
        with report.written():
            part = AgencyReport(agency=agency)
            report.agencies.append(part)
            _require_own_agency(context, agency)
            _require_consent(context, agency)
            running = Running(context)
            collector = WinnersCollector(running.options)
            running.ask(collector, agency, None)
            running.collect(collector)
            part.winners = collector.found[agency]
            report.log_winners()


def _require_own_agency(context: RunContext, agency: int) -> None:
    try:
        require_own_agency(context, agency)
    except Refused as error:
        context.log.fail("consulta_ganadores", error=error)
        raise


def _require_consent(context: RunContext, agency: int) -> None:
    """Have whoever sits at a terminal say that the agency may be sealed, unless --yes has said so.

    Raises:
        Stopped: they say anything else.
    """
    if context.settings.yes or not _is_attended():
        return
    say_error(
        "bets-client",
        f"asking before the draw means that agency {agency} has sent everything: it is sealed, and later bets of it "
        "are refused; --yes says so beforehand",
    )
    sys.stderr.write(f"Ask for the winners of agency {agency}? [y/N] ")
    sys.stderr.flush()
    with interruptible():
        answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    if answer.strip().lower() not in {"y", "yes"}:
        say_error("bets-client", "nothing was asked, and the agency is as it was")
        raise Stopped(signal.SIGINT)


def _is_attended() -> bool:
    """Whether somebody sits at a terminal, sees a question, and can answer it: not to a job in the background."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # a terminal, but not that of this session
        return True
