"""`bets-client probe`: sends lines, each on a connection of its own, and checks that the same come back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from bets_client.config import load_settings
from bets_client.errors import program_error
from bets_client.report import Report
from bets_client.run_context import RunContext, working
from bets_client.upload.running import Running
from bets_protocol import BetsError, GaveUp, Probe, TransportError
from bets_protocol.client.dialer import PROBE_REVISION, Dialer
from bets_protocol.client.driver import Steps, Wait
from bets_protocol.client.options import ClientOptions
from bets_protocol.client.retry import RetryDeadline
from bets_protocol.transports import HandshakeError

PROBE_RETRY_FOR_S = 10.0
"""Seconds to wait for a server that is not there, unless told otherwise: who probes wants to know."""

ECHO_S = 10.0
"""Seconds for the echo of one line."""


def run(options: Mapping[str, Any]) -> None:
    """Probe as often as `options` say, once unless they do."""
    settings = load_settings(options, os.environ, retry_for_s=PROBE_RETRY_FOR_S)
    with working(settings) as context:
        amount = 1 if settings.amount is None else settings.amount
        context.log_config([client_id(context)], amount=amount)
        report = Report(context, "probe")
        with report.written():
            report.extra["echoed"] = 0
            for _ in probes(context, amount):
                report.extra["echoed"] += 1


def client_id(context: RunContext) -> int:
    """Who the lines say that they are of; 0 where nothing says which agency."""
    return 0 if context.settings.agency is None else context.settings.agency


def probes(context: RunContext, amount: int) -> Iterator[int]:
    """Probe `amount` times, with a period between; gives the number of each line that came back.

    Raises:
        Unreachable: the server could not be reached, or did not answer in time.
        WrongPeer: what came back is not what was sent.
        Refused: the server rejects this client's certificate.
    """
    own_id = client_id(context)
    running = Running(context)
    for number in range(1, amount + 1):
        text = f"[CLIENT {own_id}] Message N°{number}"
        try:
            running.driver.run(_echoed(running.options, context.settings.agency, Probe(line=f"{text}\n".encode())))
        except BetsError as error:
            found = program_error(error, running.options.url, f"the server sent back something else: {error}")
            context.log.fail("receive_message", client_id=own_id, error=found)
            raise found from error
        context.log.success("receive_message", client_id=own_id, msg=text)
        yield number
        if number < amount:
            running.driver.run(_pause(context.settings.period_s))
    context.log.success("loop_finished", client_id=own_id)


def _echoed(options: ClientOptions, agency: int | None, probe: Probe) -> Steps[None]:
    dialer = Dialer(options, agency, RetryDeadline(options.retry_for_s), revision=PROBE_REVISION)
    link = yield from dialer.dial()
    try:
        yield from dialer.echo_of(link, probe, ECHO_S)
    except HandshakeError:
        raise
    except TransportError as error:
        raise GaveUp(f"{options.url}: no echo: {error}") from error
    finally:
        dialer.close(link)


def _pause(seconds: float) -> Steps[None]:
    yield Wait((), seconds)
