"""Builds a server from its settings, runs it, and takes it apart again."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from bets_protocol import ConfigError, StorageError, TransportError
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.signals import (
    CLOSING_S,
    STOP_SIGNALS,
    end_at_last,
    ignore_strays,
    interruptible,
    no_more_stops,
    stop_asked,
)
from bets_protocol.cli.tls_options import certificate_warning, server_transports
from bets_protocol.transports import Listener, Transport, listen, parse_url, require_file
from bets_server.config import ServerSettings
from bets_server.intake.handlers import Handlers, random_number
from bets_server.intake.identity import read_pins
from bets_server.logs import ServerLog
from bets_server.operator.live import LiveBackend
from bets_server.operator.protocol import control_path, is_answered
from bets_server.operator.server import ControlServer
from bets_server.reactor.loop import Reactor
from bets_server.store import BetStore, open_store, path_of

_ENCRYPTED_SCHEMES = frozenset({"tls"})

OTHER_DESCRIPTORS = 64
"""Descriptors beside those of connections: listeners, the store, the log, the loop, operators, and some to spare."""


CONTROL_ANSWER_S = 5.0
"""Seconds for another server to take a connection at the control socket."""


def serve(settings: ServerSettings, log: ServerLog) -> ExitCode:
    """Runs a server until SIGTERM, SIGINT, the end after the draw, or a failure of its store.

    Raises:
        ConfigError: a listener or the store cannot be opened as the settings say.

    Thread: main, where signals can be caught; in another thread it runs without them.
    """
    _dump_no_core()
    ignore_strays()
    with _hangups() as hangups, contextlib.ExitStack() as parts:
        tls = _Tls(settings, log)
        pins = tls.pins()
        _raise_descriptor_limit(settings.limits.max_connections + OTHER_DESCRIPTORS)
        _require_no_server_of(settings.store, settings.control)
        # A store that is not there yet is made behind the listeners, so that a start that fails for them leaves none.
        # To open one that is there may take a while: whoever got in meanwhile would take this for no server of ours.
        listeners = parts.enter_context(_opened_listeners(settings, tls)) if _is_new(settings.store) else []
        store = parts.enter_context(_opened_store(settings))
        if store.upgraded_from is not None:
            log.store_upgraded(settings.store, store.upgraded_from)
        listeners = listeners or parts.enter_context(_opened_listeners(settings, tls))
        number = settings.winning_number
        handlers = Handlers(
            store,
            agencies=settings.agencies,
            pick=random_number if number is None else lambda: number,
            draw=settings.draw,
        )
        with _short_of_nothing():
            reactor = Reactor(
                listeners,
                handlers,
                log,
                revision=settings.revision,
                limits=settings.limits,
                workers=settings.workers,
                grace_s=settings.grace_s,
                exit_after_draw=settings.exit_after_draw,
            )
        parts.push(_on_failure(store, log))
        parts.callback(reactor.close)
        reactor.renew_pins(pins)
        control_at = control_path(settings.control, settings.store)
        with (
            _stopping(reactor, settings.grace_s) as stopped_by,
            hangups.leading_to(lambda: reactor.call(lambda: tls.reload(reactor))),
            ControlServer(control_at, LiveBackend(handlers, reactor), log, required=bool(settings.control)) as control,
        ):
            for listener in listeners:
                if _reachable_from_outside(listener.url):
                    log.plain_listener(listener.url)
            tls.look_at_dates()
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


def _on_failure(store: BetStore, log: ServerLog) -> Callable[[type[BaseException] | None, object, object], None]:
    """What ends a block: closes the store where the block fails, and says so, as of what the reactor had open.

    No generator: one that is thrown away unended, as when the store must not be closed, would take that for a failure.
    """

    def close(kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is not None:
            store.close()
            log.closed("store")
            log.shut_down()

    return close


def _require_no_server_of(store: str, control: str) -> None:
    """Make sure that no server answers operators for this store: its file may have been moved away under it.

    Raises:
        ConfigError: one does.
    """
    path = control_path(control, store)
    if path is not None and is_answered(path, CONTROL_ANSWER_S):
        raise ConfigError(f"--store {store}: another server runs for it, and answers at {path}: stop that one first")


def _is_new(store: str) -> bool:
    """Whether a store has still to be made, as far as its URL tells."""
    try:
        return not os.path.exists(path_of(store))
    except ConfigError:  # of another scheme, which need not name a file
        return False


def _opened_store(settings: ServerSettings) -> BetStore:
    try:
        with interruptible():  # to read a long journal takes a while
            return open_store(settings.store, draw=settings.draw)
    except StorageError as error:
        raise ConfigError(f"--store {settings.store}: {error}") from error


class _Tls:
    """The certificates of the server, and which of its peers' are good."""

    def __init__(self, settings: ServerSettings, log: ServerLog) -> None:
        self._pins = Path(settings.tls_pins) if settings.tls_pins else None
        self._log = log
        self.transports = server_transports(
            settings.listen,
            cert=settings.tls_cert,
            key=settings.tls_key,
            ca=settings.tls_ca,
            minimum=settings.tls_min,
            unused=self._pins is not None,
        )

    def pins(self) -> Mapping[str, int] | None:
        """The pins as their file has them now.

        Raises:
            ConfigError: it cannot be used.
        """
        return None if self._pins is None else read_pins(self._pins)

    def look_at_dates(self) -> None:
        """Says so where the server's own certificate is out of date, or soon will be."""
        for transport in self.transports.values():
            warning = certificate_warning(transport, datetime.datetime.now(datetime.UTC))
            if warning is not None:
                self._log.certificate_is_out_of_date(*warning)

    def reload(self, reactor: Reactor) -> None:
        """Takes what the files hold now; where they cannot be used, all stays."""
        if not self.transports:
            self._log.nothing_to_reload()
            return
        try:
            if self._pins is not None:
                require_file(self._pins)  # a pipe would give an empty list now, and all would be locked out
            pins = self.pins()
            for transport in self.transports.values():
                transport.reload()
        except ConfigError as error:
            self._log.failed_to_reload(error)
            return
        reactor.renew_pins(pins)
        self._log.reloaded()
        self.look_at_dates()


class _Hangups:
    """What SIGHUP leads to: while the server starts, it is remembered; while it stops, it is nothing."""

    def __init__(self) -> None:
        self._came = False
        self._action: Callable[[], None] = self._remember

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of the signal."""
        self._action()

    def _remember(self) -> None:
        self._came = True

    @contextlib.contextmanager
    def leading_to(self, action: Callable[[], None]) -> Iterator[None]:
        """In the block each one, and one that has come before, leads to `action`."""
        self._action = action
        if self._came:
            action()
        try:
            yield
        finally:
            self._action = self._remember


@contextlib.contextmanager
def _hangups() -> Iterator[_Hangups]:
    """Takes SIGHUP, which would end the process, where signals can be taken."""
    hangups = _Hangups()
    if threading.current_thread() is not threading.main_thread():
        yield hangups
        return
    before = signal.signal(signal.SIGHUP, hangups)
    try:
        yield hangups
    finally:
        signal.signal(signal.SIGHUP, before)


def _dump_no_core() -> None:
    """Has the system write no image of this process to disk, should it crash: there are bets and a key in it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _raise_descriptor_limit(wanted: int) -> None:
    """Has the system allow this process as many descriptors as the settings may need, as far as it does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _short_of_nothing() -> Iterator[None]:
    """Says what the system does not give enough of.

    Raises:
        ConfigError: descriptors or threads.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot start: {error.strerror}; see `ulimit -n`") from error
    except RuntimeError as error:  # what `threading` raises, and nothing else of what is begun in here
        raise ConfigError(f"cannot start: {error}; see --workers and `ulimit -u`") from error


@contextlib.contextmanager
def _opened_listeners(settings: ServerSettings, tls: _Tls) -> Iterator[list[Listener]]:
    with contextlib.ExitStack() as listeners:
        yield [
            listeners.enter_context(_opened_listener(url, settings.backlog, tls.transports)) for url in settings.listen
        ]


def _opened_listener(url: str, backlog: int, transports: Mapping[str, Transport]) -> Listener:
    try:
        return listen(url, backlog=backlog, transports=transports)
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
def _stopping(reactor: Reactor, grace_s: float) -> Iterator[Sequence[int]]:
    """Lets SIGTERM and SIGINT stop `reactor`; gives the signals that have come."""
    stopped_by: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped_by
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        if not stopped_by:
            end_at_last(number, grace_s + CLOSING_S)
        stopped_by.append(number)
        reactor.stop()

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    if (asked := stop_asked()) is not None:
        stop(asked, None)
    try:
        yield stopped_by
    finally:
        no_more_stops()  # a late one must change neither the closing nor the exit code
        for number, handler in before.items():
            signal.signal(number, handler)
