"""`bets-client winners`: asks again for an agency's winners. Asking says that the agency has sent everything.

There is no file here and so no upload, and without one revision 9 has no question: it is asked on revision 8, which
every server of revision 9 speaks too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from bets_client.config import load_settings, require_agency, require_winners
from bets_client.errors import Refused
from bets_client.job import Job, working
from bets_client.own_certificate import require_own_agency
from bets_client.report import AgencyReport, Report
from bets_client.winners import WinnersDesk

_REVISION = 8


def run(options: Mapping[str, Any]) -> None:
    """Get the winners of the agency that `options` and the environment give."""
    settings = load_settings(options, os.environ)
    require_winners(settings)
    if settings.exactly_once:
        settings = attrs.evolve(settings, revision=_REVISION)
    agency = require_agency(settings)
    with working(settings) as job:
        job.log_config([agency])
        report = Report(job, "winners")
        with report.written():
            part = AgencyReport(agency=agency)
            report.agencies.append(part)
            _require_own_agency(job, agency)
            desk = WinnersDesk(job)
            desk.ask(agency, None)
            desk.collect()
            part.winners = desk.found[agency]
            report.log_winners()


def _require_own_agency(job: Job, agency: int) -> None:
    try:
        require_own_agency(job.settings, agency)
    except Refused as error:
        job.log.fail("consulta_ganadores", error=error)
        raise
