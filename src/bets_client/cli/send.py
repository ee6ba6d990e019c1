"""`bets-client send`: uploads files, asks for the winners, prints them.

Strategy: all files are read and checked before the first connection is made, so that bad input stores nothing. Then
one agency after the other is uploaded and sealed, and at the end the winners of all are waited for together.
On revision 9 each file is an upload of its own, on a connection of its own, and the winners are asked for behind the
agency's last one; that file stays open until they are there, since the server may want bets of it again.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bets_client.config import FIRST_REVISIONS, load_settings
from bets_client.input.check import require_good
from bets_client.input.files import STDIN, open_csv, resolve_agency
from bets_client.report import AgencyReport, Report
from bets_client.run_context import RunContext, working
from bets_client.upload.running import Running
from bets_protocol import BetsError, ConfigError
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.signals import Stopped, work_begins
from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.bet_cache import CacheBudget
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.exactly_once import ExactlyOnce
from bets_protocol.client.winners import WinnersCollector


def run(options: Mapping[str, Any], files: Sequence[str]) -> None:
    """Send `files`, as `options` say."""
    work_begins()
    settings = load_settings(options, os.environ)
    with working(settings) as context:
        by_agency = files_by_agency(context, files)
        context.log_config(list(by_agency))
        context.look_at_unused(*FIRST_REVISIONS)
        send(context, by_agency)


def files_by_agency(context: RunContext, files: Sequence[str]) -> dict[int, list[str]]:
    """The files of each agency, agencies and files in the order given.

    Raises:
        ConfigError: it is not clear whose bets a file holds, or standard input is named twice.
    """
    if list(files).count(STDIN) > 1:
        raise ConfigError("standard input (-) can be sent only once")
    found: dict[int, list[str]] = {}
    for file in files:
        agency = resolve_agency(file, context.settings.agency, context.settings.agency_origin)
        found.setdefault(agency, []).append(file)
    return found


def send(context: RunContext, by_agency: Mapping[int, Sequence[str]]) -> None:
    """Send every agency's files and, unless told otherwise, get every agency's winners.

    Raises:
        BetsError: as `Running.deliver` and `Running.collect`.
    """
    settings = context.settings
    report = Report(context, "send")
    ask = settings.knows_winners and not settings.no_winners
    if not settings.knows_winners and not settings.no_winners:
        context.log.success("winners_skipped", level=logging.WARNING, revision=settings.revision)
    with report.written():
        sources = {agency: _opened(context, agency, files) for agency, files in by_agency.items()}
        totals: dict[int, list[int]] = {}
        budget = CacheBudget() if settings.exactly_once else None
        for agency, files in by_agency.items():
            part = AgencyReport(agency=agency, files=list(files), already_stored=0 if settings.exactly_once else None)
            report.agencies.append(part)
            totals[agency] = [require_good(source, budget, warn=not settings.quiet) for source in sources[agency]]
            part.bets = sum(totals[agency])
        running = Running(context)
        collector = WinnersCollector(running.options)
        context.progress.start("sending", sum(part.bets for part in report.agencies))
        try:
            for part in report.agencies:
                inputs = sources[part.agency]
                if settings.exactly_once:
                    _upload_exactly(
                        context, running, collector, part, list(zip(inputs, totals[part.agency], strict=True)), ask=ask
                    )
                else:
                    _upload(context, running, collector, part, inputs, ask=ask)
        except Stopped:
            _say_summary(context, report)
            raise
        _say_summary(context, report)
        if ask:
            try:
                running.collect(collector)
            finally:
                for part in report.agencies:
                    part.winners = collector.found.get(part.agency)
            for source in itertools.chain.from_iterable(sources.values()):
                context.opened.close(source)
            report.log_winners()


def _opened(context: RunContext, agency: int, files: Sequence[str]) -> list[CsvFile]:
    sources = []
    for file in files:
        source = open_csv(file, agency)
        context.opened.add("file", source, file=source.name)
        sources.append(source)
    return sources


def _upload(
    context: RunContext,
    running: Running,
    collector: WinnersCollector,
    part: AgencyReport,
    sources: list[CsvFile],
    *,
    ask: bool,
) -> None:
    upload = AtLeastOnce(running.options, part.agency, running.batches(sources), part.bets)
    try:
        running.deliver(upload)
    except BetsError as error:
        text = str(error).partition("\n")[0]
        context.log.fail("archivo_enviado", client_id=part.agency, cantidad=upload.stored, error=text)
        raise
    except Stopped:
        context.log.progress("archivo_enviado", client_id=part.agency, cantidad=upload.stored)
        raise
    finally:
        part.stored, part.sent_twice = upload.stored, upload.sent_twice
    context.log.success("archivo_enviado", client_id=part.agency, cantidad=upload.stored)
    for source in sources:
        context.opened.close(source)
    link = upload.take_link()
    if ask:
        running.ask(collector, part.agency, link)
    else:
        running.close(link)


def _upload_exactly(
    context: RunContext,
    running: Running,
    collector: WinnersCollector,
    part: AgencyReport,
    inputs: list[tuple[CsvFile, int]],
    *,
    ask: bool,
) -> None:
    for number, (source, total) in enumerate(inputs, 1):
        ask_now = ask and number == len(inputs)
        upload = ExactlyOnce(running.options, running.upload(source, total), source.name)
        which: dict[str, Any] = {"file": source.name} if len(inputs) > 1 else {}
        try:
            running.deliver(upload)
        except BetsError as error:
            text = str(error).partition("\n")[0]
            context.log.fail(
                "archivo_enviado", client_id=part.agency, cantidad=upload.upload.stored, error=text, **which
            )
            raise
        except Stopped:
            context.log.progress("archivo_enviado", client_id=part.agency, cantidad=upload.upload.stored, **which)
            raise
        finally:
            part.stored += upload.upload.stored
            part.already_stored = (part.already_stored or 0) + upload.upload.already_stored
        context.log.success(
            "archivo_enviado",
            client_id=part.agency,
            cantidad=upload.upload.stored,
            already_stored=upload.upload.already_stored,
            sent_now=upload.upload.sent_now,
            **which,
        )
        link = upload.take_link()
        if ask_now:
            running.ask(collector, part.agency, link, upload.upload)
            continue
        context.opened.close(source)
        running.close(link)


def _say_summary(context: RunContext, report: Report) -> None:
    """Say on standard error what this run has added to each agency that is done, where the revision tells."""
    context.progress.finish()
    for part in report.agencies:
        if part.already_stored is not None and part.stored == part.bets and not context.settings.quiet:
            sent_now = part.stored - part.already_stored
            say_error(f"agency {part.agency}", f"already stored: {part.already_stored:,}, sent now: {sent_now:,}")
