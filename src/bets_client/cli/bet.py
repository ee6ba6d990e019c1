"""`bets-client bet`: sends one bet, from options or from the environment of the legacy client.

On revision 9 it is an upload of one bet, named by what the bet says: the same bet sent again finds itself stored. A
second one that is meant has another `--label`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bets_client.config import BET_FIELDS, SETTINGS, load_settings, require_agency
from bets_client.input.names import odd_names
from bets_client.report import Report
from bets_client.run_context import RunContext, working
from bets_client.upload.running import Running
from bets_protocol import Bet, BetsError, ConfigError, InputError, InvalidMessage
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.signals import work_begins
from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.batch_source import BetSequence
from bets_protocol.client.csv_file import not_utf_8, parse_number, with_found
from bets_protocol.client.exactly_once import ExactlyOnce

THE_BET = "the bet"


def run(options: Mapping[str, Any]) -> None:
    """Send the bet that `options` and the environment give."""
    work_begins()
    settings = load_settings(options, os.environ)
    with working(settings) as context:
        context.log_config([require_agency(settings)])
        context.look_at_unused("draw", "label")
        place(context)


def missing_fields(context: RunContext) -> list[str]:
    """What a bet still lacks, by the names of the environment."""
    return [_variable(name) for name in BET_FIELDS if context.settings.bet[name] is None]


def place(context: RunContext) -> None:
    """Send the one bet.

    Raises:
        ConfigError: a part of it is missing.
        InputError: a part of it breaks its rule.
        BetsError: as `Running.deliver`.
    """
    report = Report(context, "bet")
    with report.written():
        bet = _bet(context)
        if not context.settings.quiet:
            _warn_of_names(context, bet)
        report.extra.update(agency=bet.agency, document=bet.document, number=bet.number)
        running = Running(context)
        one = BetSequence([bet], bet.agency, THE_BET)
        upload = (
            ExactlyOnce(running.options, running.upload(one, len(list(one.bets()))), THE_BET)
            if context.settings.exactly_once
            else None
        )
        delivery = upload or AtLeastOnce(running.options, bet.agency, running.batches([one]), 1)
        try:
            running.deliver(delivery)
        except BetsError as error:
            context.log.fail(
                "apuesta_enviada", dni=bet.document, numero=bet.number, error=str(error).partition("\n")[0]
            )
            raise
        running.close(delivery.take_link())
        _tell(context, bet, None if upload is None else upload.upload.already_stored, report)


def _tell(context: RunContext, bet: Bet, already_stored: int | None, report: Report) -> None:
    """Log and report what was done; `already_stored` is None where the revision does not tell."""
    if already_stored is not None:
        report.extra.update(already_stored=already_stored, sent_now=1 - already_stored)
    more = {"already_stored": already_stored} if already_stored else {}
    context.log.success("apuesta_enviada", dni=bet.document, numero=bet.number, **more)
    if already_stored and not context.settings.quiet:
        say_error("bets-client", "this bet was stored already, nothing was sent; --label TEXT makes it another bet")


def _bet(context: RunContext) -> Bet:
    agency = require_agency(context.settings)
    values = context.settings.bet
    missing = [f"--{name.replace('_', '-')} ({_variable(name)})" for name in BET_FIELDS if values[name] is None]
    if missing:
        raise ConfigError(f"a bet needs {', '.join(missing)}")
    for name in BET_FIELDS:
        _check_utf_8(values[name] or "", context.settings.bet_origins[name] or name)
    first_name, last_name, document, birthdate, number = (values[name] or "" for name in BET_FIELDS)
    try:
        return Bet(
            agency=agency,
            first_name=first_name,
            last_name=last_name,
            document=document,
            birthdate=birthdate,
            number=parse_number(number),
        )
    except InvalidMessage as error:
        origin = context.settings.bet_origins.get(error.path)
        raise InputError(f"{origin or error.path}: {with_found(error)}") from error


def _warn_of_names(context: RunContext, bet: Bet) -> None:
    for field, what in odd_names(bet):
        say_error(
            "bets-client", f"warning: {context.settings.bet_origins[field] or field}: {what}; it is sent as it stands"
        )


def _check_utf_8(value: str, origin: str) -> None:
    """Check that the bytes of `value`, as the system gave them, are UTF-8: a bet could not carry it otherwise.

    Raises:
        InputError: they are not.
    """
    try:
        value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: {not_utf_8(error)}") from error


def _variable(name: str) -> str:
    return next(setting.env[0] for setting in SETTINGS if setting.name == name)
