"""The table of schemes, and `connect` and `listen`, which use it.

A scheme is looked up in this order: the transports of the call; the table, with the built-in schemes and those of
`register_transport`; the installed entry points in the group `bets_protocol.transports`. The transport of an entry
point is added to the table. So a plug-in costs nothing until its scheme is used, and cannot replace another transport.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from bets_protocol.errors import ConfigError
from bets_protocol.transports.base import Listener, Stream, Transport, Url
from bets_protocol.transports.memory import MemoryTransport
from bets_protocol.transports.sockets import MAX_TIMEOUT_S, closed_on_error
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

# Held while something is written to the table; nothing is ever removed, so that reading needs no lock. It is not held
# while a plug-in is loaded: a module that registers itself would wait for this thread, which waits for the import.
_lock = threading.Lock()
_table: dict[str, Transport] = {
    "tcp": TcpTransport(),
    # Without files: using it is an error that asks for them.
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
    """Connect as a client.

    Args:
        url: as in `parse_url`.
        timeout_s: more than 0; one deadline for all steps of connecting, and then the timeout of the stream
            (`Stream.set_timeout` changes it).
        transports: by scheme, for this call only; they take precedence over all others.

    Raises:
        ConfigError: the URL, its scheme or the timeout is not valid; says what was expected.
        ConnectError: the peer cannot be reached; `ConnectTimeout` if the deadline passed.

    Thread: any.
    """
    # Written so that NaN fails, too.
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ConfigError(f"timeout_s: expected more than 0 and at most {MAX_TIMEOUT_S} seconds, not {timeout_s}")
    parsed = parse_url(str(url))
    stream = _transport_for(parsed, transports).connect(parsed, timeout_s)
    with closed_on_error(stream):
        stream.set_timeout(timeout_s)
    return stream


def listen(
    url: str | Url, *, backlog: int = DEFAULT_BACKLOG, transports: Mapping[str, Transport] | None = None
) -> Listener:
    """Listen as a server.

    Args:
        url: as in `parse_url`; port 0 takes a free port, `Listener.url` says which.
        backlog: 1 to 65535; connections that may wait to be accepted. The system may allow fewer.
        transports: as in `connect`.

    Raises:
        ConfigError: the URL, its scheme or the backlog is not valid; says what was expected.
        ConnectError: it cannot listen there ("address already in use").

    Thread: any.
    """
    if not 1 <= backlog <= MAX_BACKLOG:
        raise ConfigError(f"backlog: expected 1 to {MAX_BACKLOG}, not {backlog}")
    parsed = parse_url(str(url))
    return _transport_for(parsed, transports).listen(parsed, backlog)


def register_transport(scheme: str, transport: Transport, *, replace: bool = False) -> None:
    """Use `transport` for the URLs of `scheme`, in this process from now on.

    Raises:
        ConfigError: the scheme is malformed, or is taken and `replace` is False, or `transport` does not have the
            methods of `Transport`; nothing has changed.

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
    """The known schemes, sorted, with those of installed plug-ins, which are not loaded.

    Thread: any.
    """
    return tuple(sorted({*_table, *(entry.name for entry in _installed())}))


def known_url(url: str) -> Url:
    """Parse a URL whose scheme must be known. No plug-in is loaded.

    Raises:
        UrlError: it is not a URL, or its scheme is unknown; says what was expected.

    Thread: any.
    """
    parsed = parse_url(url)
    if parsed.scheme not in _table and not any(entry.name == parsed.scheme for entry in _installed()):
        raise _unknown_scheme(parsed)
    return parsed


def _unknown_scheme(url: Url) -> UrlError:
    return UrlError(str(url), f"unknown scheme {url.scheme!r}; known are {', '.join(transport_schemes())}")


def _transport_for(url: Url, transports: Mapping[str, Transport] | None) -> Transport:
    if transports is not None and url.scheme in transports:
        return transports[url.scheme]
    if url.scheme in _table:
        return _table[url.scheme]
    # By value: one distribution may be on the path twice.
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
        # Broad, because importing a plug-in may raise anything.
        raise ConfigError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(transport, Transport):
        raise ConfigError(f"{whose}: {transport!r} is no transport (connect and listen)")
    return transport


def _installed() -> EntryPoints:
    # Imported here: it takes 50 ms, and only plug-ins need it.
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=ENTRY_POINT_GROUP)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"
