"""The context of one run of a command: its settings, its log, and a list of what is open.

The list is for a stop: at SIGTERM, in any state, `working` closes everything that is open and logs a line for each. The
command group logs the last line, `shutdown`.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import attrs

from bets_client.config import FIRST_REVISIONS, ClientSettings
from bets_client.progress import Progress
from bets_protocol import ConfigError
from bets_protocol.cli.durations import format_duration
from bets_protocol.cli.log_format import SILENT, EventLog, line_handler, setup_logging
from bets_protocol.cli.signals import Stopped, deferred_stops, ignore_strays
from bets_protocol.cli.tls_options import certificate_warning, client_transports
from bets_protocol.transports import Transport


class Closable(Protocol):
    """Anything with `close`."""

    def close(self) -> None:
        """Close it. Calling it again has no effect."""


class OpenThings:
    """Everything that is open now, in the order of opening."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._things: dict[int, tuple[Closable, str, dict[str, object]]] = {}

    def add(self, kind: str, thing: Closable, **fields: object) -> None:
        """Add `thing`; `kind` and `fields` are for the log line at its closing."""
        self._things[id(thing)] = (thing, kind, fields)

    def close(self, thing: Closable, *, level: int = logging.DEBUG) -> None:
        """Close `thing`, and log that unless it was closed here before."""
        entry = self._things.pop(id(thing), None)
        thing.close()
        if entry is not None:
            _, kind, fields = entry
            self._log.success(f"close_{kind}", level=level, **fields)

    def close_all(self, *, level: int = logging.DEBUG) -> None:
        """Close everything, the latest first."""
        for thing, _, _ in reversed(list(self._things.values())):
            self.close(thing, level=level)


@attrs.frozen(kw_only=True)
class RunContext:
    """One run of a command.

    Attributes:
        transports: those of the settings, for `connect`.
    """

    settings: ClientSettings
    log: EventLog
    opened: OpenThings
    progress: Progress
    transports: Mapping[str, Transport]

    def log_config(self, agencies: Sequence[int], *, amount: int | None = None) -> None:
        """Log the first line of a client; `amount` is the number of probes if the settings have none."""
        settings = self.settings
        self.log.success(
            "config",
            client_id=",".join(map(str, agencies)) or 0,
            server_address=settings.server,
            loop_amount=settings.amount or amount or 0,
            loop_period=format_duration(settings.period_s),
            log_level=settings.log_level,
            batch_max_amount=settings.batch_max,
        )
        self._warn_of_certificate()

    def _warn_of_certificate(self) -> None:
        """Log a line if this client's own certificate is out of date, or soon will be."""
        with contextlib.suppress(ConfigError):  # connecting will raise it
            warning = certificate_warning(self.transports.get("tls"), datetime.datetime.now(datetime.UTC))
            if warning is not None:
                self.log.success("check_certificate", level=logging.WARNING, file=warning[0], warning=warning[1])

    def look_at_unused(self, *names: str) -> None:
        """Refuse those of the options `names` that have no effect on the revision.

        Raises:
            ConfigError: such an option was given.
        """
        # An option is meant for this run. An environment variable may be meant for other runs: it only gets a warning.
        settings = self.settings
        for name, origin in settings.unused.items():
            if name not in names:
                continue
            why = f"only from revision {FIRST_REVISIONS[name]} on, and this is {settings.revision}"
            if origin.startswith("--"):
                raise ConfigError(f"{origin}: it has an effect {why}")
            self.log.success("setting_skipped", level=logging.WARNING, setting=origin, reason=f"it has an effect {why}")


@contextlib.contextmanager
def working(settings: ClientSettings) -> Iterator[RunContext]:
    """Set up the log, and close what is still open at the end.

    Raises:
        ConfigError: the settings lack files for an encrypted connection, or have them without one.
        OutputError: the block has ended well, and its log could not be written.
        Stopped: the program was asked to stop; everything is closed.
    """
    ignore_strays()
    transports = client_transports(
        settings.server,
        cert=settings.tls_cert,
        key=settings.tls_key,
        ca=settings.tls_ca,
        minimum=settings.tls_min,
        given_by=settings.tls_origin,
    )
    logger = setup_logging(
        SILENT if settings.quiet else settings.log_level, sys.stderr if settings.format == "json" else None
    )
    log = EventLog(logger)
    show = settings.progress if settings.progress is not None else not settings.quiet
    progress = Progress(sys.stderr if show else None, logger)
    opened = OpenThings(log)
    with deferred_stops():
        try:
            yield RunContext(settings=settings, log=log, opened=opened, progress=progress, transports=transports)
        except Stopped:
            progress.finish()
            opened.close_all(level=logging.INFO)
            raise
        finally:
            progress.finish()
            opened.close_all()
    handler = line_handler(logger)
    if handler is not None:
        handler.require_written()
