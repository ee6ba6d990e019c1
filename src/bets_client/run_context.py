"""What one run of a command works with: its settings, its log, and a list of what it has open.

The list exists for a stop: whatever state SIGTERM finds, `working` closes everything that is open and logs a line for
each. `guard` logs the last line, `shutdown`.
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
        """Close it; twice is harmless."""


class OpenThings:
    """What is open now, in the order of opening."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._things: dict[int, tuple[Closable, str, dict[str, object]]] = {}

    def add(self, kind: str, thing: Closable, **fields: object) -> None:
        """Remember `thing`; `kind` and `fields` are for the line that its closing logs."""
        self._things[id(thing)] = (thing, kind, fields)

    def close(self, thing: Closable, *, level: int = logging.DEBUG) -> None:
        """Close `thing`, and log it unless it was closed this way already."""
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
        transports: what the settings say of how to connect, for `connect`.
    """

    settings: ClientSettings
    log: EventLog
    opened: OpenThings
    progress: Progress
    transports: Mapping[str, Transport]

    def log_config(self, agencies: Sequence[int], *, amount: int | None = None) -> None:
        """Log the line that a client starts with; `amount` is that of the probes where the settings leave it open."""
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
        """Log a line where this client's own certificate is out of date, or soon will be."""
        with contextlib.suppress(ConfigError):  # what cannot be read is for who connects to say
            warning = certificate_warning(self.transports.get("tls"), datetime.datetime.now(datetime.UTC))
            if warning is not None:
                self.log.success("check_certificate", level=logging.WARNING, file=warning[0], warning=warning[1])

    def look_at_unused(self, *names: str) -> None:
        """Refuse options, of those `names`, that the revision has no use for.

        Who types one means it for this run. A variable may be there for other runs: it is worth a warning only.

        Raises:
            ConfigError: there is one.
        """
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
    """Set the log up and close at the end what the block left open.

    Raises:
        ConfigError: the settings lack what an encrypted connection needs, or have it without need.
        OutputError: the block has ended well, and its log could not be written.
        Stopped: as it came, when everything is closed.
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
