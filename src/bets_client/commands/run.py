"""`bets-client run`: what a container runs. First the probes, then one bet or a file, whatever the settings name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bets_client.commands import bet, probe, send
from bets_client.config import DEFAULT_DATA_FILE, load_settings
from bets_client.job import Job, working


def run(options: Mapping[str, Any]) -> None:
    """Probe `loop.amount` times; then place the bet of the environment if there is one, else send the data file."""
    settings = load_settings(options, os.environ)
    with working(settings) as job:
        job.log_config([] if settings.agency is None else [settings.agency])
        amount = settings.amount or 0
        if amount:
            for _ in probe.probes(job, amount):
                pass
        _work(job, probed=amount > 0)


def _work(job: Job, *, probed: bool) -> None:
    missing = bet.missing_fields(job)
    if not missing:
        bet.place(job)
        return
    if len(missing) < len(job.settings.bet):
        job.log.fail("apuesta_enviada", level=logging.WARNING, error=f"not set: {', '.join(missing)}; sending the file")
    file = job.settings.file
    if file is None:
        file = DEFAULT_DATA_FILE
        if probed and not _holds_something(Path(file)):
            return  # a client that only probes, as the oldest ones did
    send.send(job, send.files_by_agency(job, [file]))


def _holds_something(file: Path) -> bool:
    """Whether the file is there and not empty; where a container mounts one that is missing, Docker makes a folder."""
    return file.exists() and not file.is_dir() and not (file.is_file() and file.stat().st_size == 0)
