"""`bets-client send`: uploads files, asks for the winners, prints them.

Strategy: all files are read and checked before the first connection is made, so that bad input stores nothing. Then
one agency after the other is uploaded and sealed, and at the end the winners of all are waited for together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bets_client.check import require_good
from bets_client.config import load_settings
from bets_client.job import Job, working
from bets_client.report import AgencyReport, Report
from bets_client.shipment import shipments
from bets_client.source import STDIN, Source, resolve_agency
from bets_client.uploader import Upload
from bets_client.winners import WinnersDesk
from bets_protocol import BetsError, ConfigError


def run(options: Mapping[str, Any], files: Sequence[str]) -> None:
    """Send `files`, as `options` say."""
    settings = load_settings(options, os.environ)
    with working(settings) as job:
        by_agency = files_by_agency(job, files)
        job.log_config(list(by_agency))
        send(job, by_agency)


def files_by_agency(job: Job, files: Sequence[str]) -> dict[int, list[str]]:
    """The files of each agency, agencies and files in the order given.

    Raises:
        ConfigError: it is not clear whose bets a file holds, or standard input is named twice.
    """
    if list(files).count(STDIN) > 1:
        raise ConfigError("standard input (-) can be sent only once")
    found: dict[int, list[str]] = {}
    for file in files:
        agency = resolve_agency(file, job.settings.agency, job.settings.agency_origin)
        found.setdefault(agency, []).append(file)
    return found


def send(job: Job, by_agency: Mapping[int, Sequence[str]]) -> None:
    """Send every agency's files and, unless told otherwise, get every agency's winners.

    Raises:
        BetsError: as `Upload.run` and `WinnersDesk.collect`.
    """
    settings = job.settings
    report = Report(job, "send")
    ask = settings.knows_winners and not settings.no_winners
    if not settings.knows_winners and not settings.no_winners:
        job.log.success("winners_skipped", level=logging.WARNING, revision=settings.revision)
    with report.written():
        sources = {agency: _opened(job, agency, files) for agency, files in by_agency.items()}
        for agency, files in by_agency.items():
            total = sum(require_good(source) for source in sources[agency])
            report.agencies.append(AgencyReport(agency=agency, files=list(files), bets=total))
        desk = WinnersDesk(job)
        job.progress.start("sending", sum(part.bets for part in report.agencies))
        for part in report.agencies:
            _upload(job, desk, part, sources[part.agency], ask=ask)
        job.progress.finish()
        if ask:
            try:
                desk.collect()
            finally:
                for part in report.agencies:
                    part.winners = desk.found.get(part.agency)
            report.log_winners()


def _opened(job: Job, agency: int, files: Sequence[str]) -> list[Source]:
    sources = []
    for file in files:
        source = Source(file, agency)
        job.opened.add("file", source, file=source.name)
        sources.append(source)
    return sources


def _upload(job: Job, desk: WinnersDesk, part: AgencyReport, sources: list[Source], *, ask: bool) -> None:
    upload = Upload(job, part.agency, shipments(sources, job.settings), part.bets)
    try:
        upload.run()
    except BetsError as error:
        text = str(error).partition("\n")[0]
        job.log.fail("archivo_enviado", client_id=part.agency, cantidad=upload.stored, error=text)
        raise
    finally:
        part.stored, part.sent_twice = upload.stored, upload.sent_twice
    job.log.success("archivo_enviado", client_id=part.agency, cantidad=upload.stored)
    for source in sources:
        job.opened.close(source)
    link = upload.take_link()
    if ask:
        desk.ask(part.agency, link)
    elif link is not None:
        job.opened.close(link)
