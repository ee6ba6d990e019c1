"""Builds a server from its settings, runs it, and takes it apart again."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from bets_protocol import ConfigError, StorageError, TransportError
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.programs.stopping import STOP_SIGNALS, no_more_stops
from bets_protocol.transports import Listener, listen, parse_url
from bets_server.config import ServerSettings
from bets_server.control import control_server
from bets_server.handlers import Handlers, random_number
from bets_server.live_desk import LiveDesk
from bets_server.logs import ServerLog
from bets_server.reactor import Reactor
from bets_server.store import BetStore, open_store

_ENCRYPTED_SCHEMES = frozenset({"tls"})


def serve(settings: ServerSettings, log: ServerLog) -> ExitCode:
    """Runs a server until SIGTERM, SIGINT, the end after the draw, or a failure of its store.

    Raises:
        ConfigError: a listener or the store cannot be opened as the settings say.

    Thread: main, where signals can be caught; in another thread it runs without them.
    """
    with contextlib.ExitStack() as parts:
        store = parts.enter_context(_opened_store(settings))
        listeners = [parts.enter_context(_opened_listener(url, settings.backlog)) for url in settings.listen]
        number = settings.winning_number
        handlers = Handlers(
            store,
            agencies=settings.agencies,
            pick=random_number if number is None else lambda: number,
            draw=settings.draw,
        )
        reactor = Reactor(
            listeners,
            handlers,
            log,
            revision=settings.revision,
            workers=settings.workers,
            grace_s=settings.grace_s,
            exit_after_draw=settings.exit_after_draw,
        )
        desk = LiveDesk(handlers, reactor)
        with _stopping(reactor) as stopped_by, control_server(settings.control, settings.store, desk, log) as control:
            for listener in listeners:
                if _reachable_from_outside(listener.url):
                    log.plain_listener(listener.url)
            log.started(
                port=next((parse_url(listener.url).port or 0 for listener in listeners), 0),
                backlog=settings.backlog,
                level=settings.log_level,
                urls=[listener.url for listener in listeners],
            )
            code = reactor.run()
        if reactor.store_in_use or control.store_in_use:
            # Closing would wait for that call. What it does is whole or nothing, so the process may end under it.
            parts.pop_all()
            log.failed_to_close("store", "a call of it still runs")
        else:
            store.close()
            log.closed("store")
    log.shut_down()
    return ExitCode.INTERRUPTED if code is ExitCode.DONE and signal.SIGINT in stopped_by else code


def _opened_store(settings: ServerSettings) -> BetStore:
    try:
        return open_store(settings.store, draw=settings.draw)
    except StorageError as error:
        raise ConfigError(f"--store {settings.store}: {error}") from error


def _opened_listener(url: str, backlog: int) -> Listener:
    try:
        return listen(url, backlog=backlog)
    except TransportError as error:
        raise ConfigError(f"--listen {url}: {error}") from error


def _reachable_from_outside(url: str) -> bool:
    """Whether a listener takes unencrypted connections from other machines."""
    parts = parse_url(url)
    if parts.port is None or parts.scheme in _ENCRYPTED_SCHEMES:
        return False
    try:
        return not ipaddress.ip_address(parts.host).is_loopback
    except ValueError:
        return parts.host != "localhost"


@contextlib.contextmanager
def _stopping(reactor: Reactor) -> Iterator[Sequence[int]]:
    """Lets SIGTERM and SIGINT stop `reactor`; gives the signals that have come."""
    stopped_by: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped_by
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped_by.append(number)
        reactor.stop()

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield stopped_by
    finally:
        no_more_stops()  # a late one must change neither the closing nor the exit code
        for number, handler in before.items():
            signal.signal(number, handler)
