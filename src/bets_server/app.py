"""Builds a server from its settings, runs it, and takes it apart again."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from bets_protocol import ConfigError, StorageError, TransportError
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.programs.stopping import STOP_SIGNALS, no_more_stops
from bets_protocol.transports import Listener, TlsFiles, TlsTransport, Transport, listen, parse_url
from bets_server.config import ServerSettings
from bets_server.control import control_server
from bets_server.handlers import Handlers, random_number
from bets_server.identity import read_pins
from bets_server.live_desk import LiveDesk
from bets_server.logs import ServerLog
from bets_server.reactor import Reactor
from bets_server.store import BetStore, open_store

_ENCRYPTED_SCHEMES = frozenset({"tls"})

OTHER_DESCRIPTORS = 64
"""Descriptors beside those of connections: listeners, the store, the log, the loop, operators, and some to spare."""


def serve(settings: ServerSettings, log: ServerLog) -> ExitCode:
    """Runs a server until SIGTERM, SIGINT, the end after the draw, or a failure of its store.

    Raises:
        ConfigError: a listener or the store cannot be opened as the settings say.

    Thread: main, where signals can be caught; in another thread it runs without them.
    """
    with contextlib.ExitStack() as parts:
        store = parts.enter_context(_opened_store(settings))
        tls = _Tls(settings, log)
        _raise_descriptor_limit(settings.limits.max_connections + OTHER_DESCRIPTORS)
        listeners = [
            parts.enter_context(_opened_listener(url, settings.backlog, tls.transports)) for url in settings.listen
        ]
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
            limits=settings.limits,
            workers=settings.workers,
            grace_s=settings.grace_s,
            exit_after_draw=settings.exit_after_draw,
        )
        reactor.pins = tls.pins()
        desk = LiveDesk(handlers, reactor)
        with (
            _stopping(reactor) as stopped_by,
            _reloading(reactor, tls) if settings.tls else contextlib.nullcontext(),
            control_server(settings.control, settings.store, desk, log) as control,
        ):
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


class _Tls:
    """The certificates of the server, and which of its peers' are good."""

    def __init__(self, settings: ServerSettings, log: ServerLog) -> None:
        self._pins = Path(settings.tls_pins) if settings.tls_pins else None
        self._log = log
        self._transport: TlsTransport | None = None
        self.transports: dict[str, Transport] = {}
        named = {"cert": settings.tls_cert, "key": settings.tls_key, "ca": settings.tls_ca}
        if settings.tls:
            missing = [f"--tls-{name}" for name, path in named.items() if not path]
            if missing:
                raise ConfigError(f"a tls:// listener needs {' and '.join(missing)}; see `bets-server certs`")
            files = TlsFiles(**{name: Path(path) for name, path in named.items()})
            self._transport = TlsTransport(files, minimum=settings.tls_min)
            self.transports["tls"] = self._transport
        elif self._pins or any(named.values()):
            raise ConfigError("there are certificates, and no tls:// listener that would use them; see --listen")

    def pins(self) -> Mapping[str, int] | None:
        """The pins as their file has them now.

        Raises:
            ConfigError: it cannot be used.
        """
        return None if self._pins is None else read_pins(self._pins)

    def reload(self, reactor: Reactor) -> None:
        """Takes what the files hold now, for connections from now on; where they cannot be used, all stays."""
        try:
            pins = self.pins()
            if self._transport is not None:
                self._transport.reload()
        except ConfigError as error:
            self._log.failed_to_reload(error)
            return
        reactor.pins = pins
        self._log.reloaded()


@contextlib.contextmanager
def _reloading(reactor: Reactor, tls: _Tls) -> Iterator[None]:
    """Lets SIGHUP have the certificates read anew."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: reactor.call(lambda: tls.reload(reactor)))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _raise_descriptor_limit(wanted: int) -> None:
    """Has the system allow this process as many descriptors as the settings may need, as far as it does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
