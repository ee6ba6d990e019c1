"""The scheme table: which transport serves a url, and the two doors `connect` and `listen`.

A scheme is looked up in the table first; the built-in ones and those of `register_transport` stand there. Only for one
that does not, the installed distributions are asked for an entry point of that name in the group
`bets_protocol.transports`, and what it loads joins the table. So a plug-in costs nothing until its scheme is used, and
cannot take the place of another. A call may bring transports of its own, which come before the table.

Foreign code is loaded here: whatever it raises becomes a `ConfigError` that names the distribution and the scheme.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from bets_protocol.errors import ConfigError
from bets_protocol.transports.base import Listener, Stream, Transport, Url
from bets_protocol.transports.memory import MemoryTransport
from bets_protocol.transports.sockets import MAX_TIMEOUT_S
from bets_protocol.transports.tcp import TcpTransport
from bets_protocol.transports.tls import TlsFiles, TlsTransport
from bets_protocol.transports.unix import UnixTransport
from bets_protocol.transports.url import UrlError, parse_url, valid_scheme

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

ENTRY_POINT_GROUP: Final = "bets_protocol.transports"

DEFAULT_CONNECT_TIMEOUT_S: Final = 10.0
DEFAULT_BACKLOG: Final = 128
MAX_BACKLOG: Final = 65_535

# Guards the table, never held while foreign code is loaded: a module that registers itself would wait for us while we
# wait for its import.
_lock = threading.Lock()
_table: dict[str, Transport] = {
    "tcp": TcpTransport(),
    # It has no files, and asks for them.
    "tls": TlsTransport(TlsFiles()),
    "unix": UnixTransport(),
    "memory": MemoryTransport(),
}


def connect(
    url: str | Url,
    *,
    timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    transports: Mapping[str, Transport] | None = None,
) -> Stream:
    """Connects as a client.

    Args:
        url: as in `parse_url`.
        timeout_s: more than 0; one deadline for all that connecting takes, and then the timeout of the stream
            (`Stream.set_timeout` changes it).
        transports: by scheme, for this call alone; they come before all others.

    Raises:
        ConfigError: the url, its scheme or the timeout cannot be used; it says what was expected.
        ConnectError: nobody there, or it cannot be reached; `ConnectTimeout` when the deadline passed.

    Thread: any.
    """
    # Written so that a NaN fails, too.
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ConfigError(f"timeout_s: expected more than 0 and at most {MAX_TIMEOUT_S} seconds, not {timeout_s}")
    parsed = parse_url(str(url))
    stream = _transport_for(parsed, transports).connect(parsed, timeout_s)
    try:
        stream.set_timeout(timeout_s)
    except BaseException:
        stream.close()
        raise
    return stream


def listen(
    url: str | Url, *, backlog: int = DEFAULT_BACKLOG, transports: Mapping[str, Transport] | None = None
) -> Listener:
    """Listens as a server.

    Args:
        url: as in `parse_url`; port 0 takes a free port, `Listener.url` says which.
        backlog: 1 to 65535; connections that may wait to be accepted. The system may allow fewer.
        transports: as in `connect`.

    Raises:
        ConfigError: the url, its scheme or the backlog cannot be used; it says what was expected.
        ConnectError: it cannot listen there ("address already in use").

    Thread: any.
    """
    if not 1 <= backlog <= MAX_BACKLOG:
        raise ConfigError(f"backlog: expected 1 to {MAX_BACKLOG}, not {backlog}")
    parsed = parse_url(str(url))
    return _transport_for(parsed, transports).listen(parsed, backlog)


def register_transport(scheme: str, transport: Transport, *, replace: bool = False) -> None:
    """Lets urls of `scheme` go to `transport`, in this process from now on.

    Raises:
        ConfigError: the scheme is malformed, or taken and `replace` is false; nothing has changed. Also when
            `transport` does not have the methods of `Transport`.

    Thread: any.
    """
    if not valid_scheme(scheme):
        raise ConfigError(f"transport scheme {scheme!r}: expected a lower-case letter, then a-z 0-9 + . -")
    if isinstance(transport, type) or not isinstance(transport, Transport):
        raise ConfigError(f"transport scheme {scheme!r}: {transport!r} is no transport (connect and listen)")
    with _lock:
        if scheme in _table and not replace:
            raise ConfigError(f"transport scheme {scheme!r} is taken by {_table[scheme]!r}")
        _table[scheme] = transport


def transport_schemes() -> tuple[str, ...]:
    """The schemes that can be used here, sorted; those of installed plug-ins are named without being loaded.

    Thread: any.
    """
    installed = {entry.name for entry in _installed()}
    with _lock:
        return tuple(sorted(installed | set(_table)))


def known_url(url: str) -> Url:
    """`parse_url`, for a url that can be used here.

    Nothing is loaded, and plug-ins are looked for only where no transport that is known already has the scheme.

    Raises:
        UrlError: it is no url, or its scheme is unknown; it says what was expected.

    Thread: any.
    """
    parsed = parse_url(url)
    with _lock:
        known = parsed.scheme in _table
    if not known and not any(entry.name == parsed.scheme for entry in _installed()):
        raise _unknown_scheme(parsed)
    return parsed


def _unknown_scheme(url: Url) -> UrlError:
    return UrlError(str(url), f"unknown scheme {url.scheme!r}; known are {', '.join(transport_schemes())}")


def _transport_for(url: Url, transports: Mapping[str, Transport] | None) -> Transport:
    if transports is not None and url.scheme in transports:
        return transports[url.scheme]
    with _lock:
        transport = _table.get(url.scheme)
    if transport is not None:
        return transport
    # One distribution that is on the path twice is no contradiction.
    found = {entry.value: entry for entry in _installed() if entry.name == url.scheme}
    if not found:
        raise _unknown_scheme(url)
    if len(found) > 1:
        names = ", ".join(sorted(_distribution(entry) for entry in found.values()))
        raise ConfigError(f"transport scheme {url.scheme!r}: several distributions offer it: {names}")
    (entry,) = found.values()
    loaded = _load(entry)
    with _lock:
        # Another thread, or the import itself, may have been first.
        return _table.setdefault(url.scheme, loaded)


def _load(entry: EntryPoint) -> Transport:
    whose = f"transport scheme {entry.name!r} of the distribution {_distribution(entry)} ({entry.value})"
    try:
        loaded = entry.load()
        transport = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        # Broad, since importing foreign code may raise anything.
        raise ConfigError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(transport, Transport):
        raise ConfigError(f"{whose}: {transport!r} is no transport (connect and listen)")
    return transport


def _installed() -> EntryPoints:
    # 50 ms of imports that only plug-ins need.
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=ENTRY_POINT_GROUP)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"
