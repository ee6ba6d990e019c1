"""`bets-client winners`: asks again for an agency's winners. Asking says that the agency has sent everything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bets_client.config import load_settings, require_agency, require_winners
from bets_client.job import working
from bets_client.report import AgencyReport, Report
from bets_client.winners import WinnersDesk


def run(options: Mapping[str, Any]) -> None:
    """Get the winners of the agency that `options` and the environment give."""
    settings = load_settings(options, os.environ)
    require_winners(settings)
    agency = require_agency(settings)
    with working(settings) as job:
        job.log_config([agency])
        report = Report(job, "winners")
        with report.written():
            part = AgencyReport(agency=agency)
            report.agencies.append(part)
            desk = WinnersDesk(job)
            desk.ask(agency, None)
            desk.collect()
            part.winners = desk.found[agency]
            report.log_winners()
