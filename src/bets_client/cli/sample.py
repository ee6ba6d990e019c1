"""`bets-client sample`: writes files of made-up bets to try things out with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bets_client.config import load_settings
from bets_client.input.sample import write_samples
from bets_protocol.cli.signals import let_sigterm_kill
from bets_protocol.cli.stdio import write_result


def run(options: Mapping[str, Any], folder: str) -> None:
    """Write the files into `folder` and print their paths."""
    let_sigterm_kill()
    settings = load_settings(options, os.environ)
    paths = write_samples(
        folder,
        agencies=settings.agencies,
        bets=settings.bets,
        seed=settings.seed,
        overwrite=settings.overwrite,
    )
    if not settings.quiet:
        write_result("".join(f"{path}\n" for path in paths), confirms=True)
