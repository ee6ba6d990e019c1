"""Builds a server from its settings, runs it, and closes what it has opened."""

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
from bets_protocol.transports import Listener, listen, parse_url, require_file
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
"""Descriptors besides those of connections: listeners, the store, the log, the loop, operators, and some to spare."""

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
        control_at = control_path(settings.control, settings.store)
        _require_no_server_of(settings.store, control_at)
        # 1. A new store is created after the listeners: a start that fails because of a listener leaves no store.
        # 2. An existing store is opened before them, which may take long: a client that connected meanwhile would get
        #    no answer, and give up.
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
        with _enough_resources():
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
            # Closing would wait for that call. It is atomic, so the process may end while it runs.
            parts.pop_all()
            log.failed_to_close("store", "a call of it still runs")
        else:
            store.close()
            log.closed("store")
    log.shut_down()
    return ExitCode.INTERRUPTED if code is ExitCode.DONE and signal.SIGINT in stopped_by else code


def _on_failure(store: BetStore, log: ServerLog) -> Callable[[type[BaseException] | None, object, object], None]:
    """An exit callback: on an exception, closes the store and logs it, as the reactor does for its parts.

    Not a generator: when the stack is discarded because the store must stay open, a generator would get GeneratorExit
    and close the store.
    """

    def close(kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is not None:
            store.close()
            log.closed("store")
            log.shut_down()

    return close


def _require_no_server_of(store: str, path: Path | None) -> None:
    """Make sure that no server answers operators at `path`: its store's file may have been moved while it runs.

    Raises:
        ConfigError: a server answers.
    """
    if path is not None and is_answered(path, CONTROL_ANSWER_S):
        raise ConfigError(f"--store {store}: another server runs for it, and answers at {path}: stop that one first")


def _is_new(store: str) -> bool:
    """Whether the store does not exist yet, as far as its URL tells."""
    try:
        return not os.path.exists(path_of(store))
    except ConfigError:  # the URL of another scheme need not name a file
        return False


def _opened_store(settings: ServerSettings) -> BetStore:
    try:
        with interruptible():  # to read a long journal takes a while
            return open_store(settings.store, draw=settings.draw)
    except StorageError as error:
        raise ConfigError(f"--store {settings.store}: {error}") from error


class _Tls:
    """The certificates of the server, and the pins of its peers' certificates."""

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
        """The pins in their file, read again; None without such a file.

        Raises:
            ConfigError: the file cannot be used.
        """
        return None if self._pins is None else read_pins(self._pins)

    def look_at_dates(self) -> None:
        """Logs a warning if a certificate of the server has expired or soon will."""
        for transport in self.transports.values():
            warning = certificate_warning(transport, datetime.datetime.now(datetime.UTC))
            if warning is not None:
                self._log.certificate_is_out_of_date(*warning)

    def reload(self, reactor: Reactor) -> None:
        """Reads the files again; if one of them cannot be used, nothing changes."""
        if not self.transports:
            self._log.nothing_to_reload()
            return
        try:
            if self._pins is not None:
                require_file(self._pins)  # a pipe would give an empty list, which locks out every peer
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
    """The handler of SIGHUP: while the server starts, the signal is remembered; while it stops, it has no effect."""

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
        """In the block, each SIGHUP runs `action`, as does one that came before."""
        self._action = action
        if self._came:
            action()
        try:
            yield
        finally:
            self._action = self._remember


@contextlib.contextmanager
def _hangups() -> Iterator[_Hangups]:
    """Catches SIGHUP, which would end the process; only the main thread can."""
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
    """Disables core dumps: the memory of this process holds bets and a private key."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _raise_descriptor_limit(wanted: int) -> None:
    """Raises the soft limit of descriptors to what the settings may need, or to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _enough_resources() -> Iterator[None]:
    """Names the resource that the system does not give enough of.

    Raises:
        ConfigError: descriptors or threads ran out.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot start: {error.strerror}; see `ulimit -n`") from error
    except RuntimeError as error:  # raised only by `threading` here
        raise ConfigError(f"cannot start: {error}; see --workers and `ulimit -u`") from error


@contextlib.contextmanager
def _opened_listeners(settings: ServerSettings, tls: _Tls) -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    with contextlib.ExitStack() as opened:
        for url in settings.listen:
            try:
                listener = listen(url, backlog=settings.backlog, transports=tls.transports)
            except TransportError as error:
                raise ConfigError(f"--listen {url}: {error}") from error
            listeners.append(opened.enter_context(listener))
        yield listeners


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
    """Lets SIGTERM and SIGINT stop `reactor`; the list gets the signals that came."""
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
        no_more_stops()  # a late signal must not change how the server closes, nor its exit code
        for number, handler in before.items():
            signal.signal(number, handler)
