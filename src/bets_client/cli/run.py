"""`bets-client run`: what a container runs. First the probes, then one bet or a file, whatever the settings name."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from typing import Any

from bets_client.cli import bet, probe, send
from bets_client.config import DEFAULT_DATA_FILE, FIRST_REVISIONS, load_settings
from bets_client.run_context import RunContext, working


def run(options: Mapping[str, Any]) -> None:
    """Probe `loop.amount` times; then place the bet of the environment if there is one, else send the data file."""
    settings = load_settings(options, os.environ)
    with working(settings) as context:
        amount = settings.amount or 0
        if amount:
            context.log_config([probe.client_id(context)])
        else:
            context.log_config([] if settings.agency is None else [settings.agency])
        context.look_at_unused(*FIRST_REVISIONS)
        if amount:
            for _ in probe.probes(context, amount):
                pass
        _work(context, probed=amount > 0)


def _work(context: RunContext, *, probed: bool) -> None:
    missing = bet.missing_fields(context)
    if not missing:
        bet.place(context)
        return
    if len(missing) < len(context.settings.bet):
        context.log.fail(
            "apuesta_enviada", level=logging.WARNING, error=f"not set: {', '.join(missing)}; sending the file"
        )
    file = context.settings.file
    if file is None:
        file = DEFAULT_DATA_FILE
        nothing = _why_nothing(file) if probed else None
        if nothing is not None:  # a client that only probes, as the oldest ones did
            context.log.success("data_file_skipped", level=logging.WARNING, file=file, reason=nothing)
            return
    send.send(context, send.files_by_agency(context, [file]))


def _why_nothing(file: str) -> str | None:
    """Why there is nothing to send, as far as that may be meant; None: there is, or something is wrong with it.

    What cannot be looked at, a link that leads nowhere, and the folder that Docker makes where a file that is to be
    mounted is missing, are none of that: somebody wanted a file there.
    """
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None if os.path.islink(file) else "there is no such file"
    except OSError:
        return None
    return "the file is empty" if stat.S_ISREG(found.st_mode) and found.st_size == 0 else None
