"""`tcp://host:port`: TCP over IPv4 and IPv6.

One deadline of `connect` covers the resolver and all addresses. Every stream sends at once (TCP_NODELAY, because the
protocol is request and answer) and notices a peer that vanished: an idle one by keepalive, a sending one by
TCP_USER_TIMEOUT, both after 60 s.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from bets_protocol.errors import ConfigError, ConnectError
from bets_protocol.transports.base import ConnectTimeout, Listener, Stream, Url
from bets_protocol.transports.sockets import (
    SocketListener,
    SocketStream,
    closed_on_error,
    deadline_passed,
    os_errors_as,
    reason_of,
    transport_error,
)

SocketAddress: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]
"""The family, and the address in the form that sockets of this family take."""

Resolver: TypeAlias = Callable[[str, int], Sequence[SocketAddress]]
"""Returns the addresses of a host name and a port, best first, or raises `OSError`. It may block."""

LISTEN_RESOLVE_S: Final = 10.0
"""Seconds to resolve the name of a listener; a connection has its own deadline."""

# Probes start after 30 s of silence; 3 probes 10 s apart without an answer end the connection. So do bytes that are not
# acknowledged for 60,000 ms. Not every system has all of these options.
_VIGILANCE: Final = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}


def system_resolver(host: str, port: int) -> Sequence[SocketAddress]:
    """The addresses from the system's resolver, in its order of preference."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no host name") from error
    return [(family, address) for family, _, _, _, address in found]


ANSWERS_BYTES: Final = 65_536
"""Bytes that the system buffers for a peer that does not read; twice that with its own overhead."""


class TcpTransport:
    """The `Transport` of the scheme ``tcp``.

    Args:
        resolver: for host names; addresses never go through it.
    """

    def __init__(self, *, resolver: Resolver = system_resolver) -> None:
        self._resolver = resolver

    def connect(self, url: Url, timeout_s: float) -> SocketStream:
        deadline = time.monotonic() + timeout_s
        doing = f"cannot connect to {url}"
        if not url.port:
            raise ConfigError(f"{doing}: port 0 is for listening")
        addresses = self._resolve(url, doing, timeout_s)
        failures: list[OSError] = []
        for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # An even share of the time that is left, so that an address that drops packets leaves time for the next.
            # Never 0, which would mean non-blocking: the last address is tried even if it is late.
            share_s = max(deadline - time.monotonic(), 0.001) / left
            try:
                return _connect_one(family, address, share_s)
            except OSError as error:
                failures.append(error)
        last = failures[-1]
        if len(failures) == 1:
            raise transport_error(ConnectError, doing, last) from last
        reasons = (f"{address[0]}: {reason_of(error)}" for (_, address), error in zip(addresses, failures, strict=True))
        kind = ConnectTimeout if deadline_passed(last) else ConnectError
        raise kind(f"{doing}: {', '.join(reasons)}") from last

    def listen(
        self, url: Url, backlog: int, wrap: Callable[[SocketStream], Stream] = lambda stream: stream
    ) -> Listener:
        """Listen, and pass each accepted stream to `wrap`, for a transport on top of this one."""
        doing = f"cannot listen on {url}"
        addresses = self._resolve(url, doing, LISTEN_RESOLVE_S)
        # An IPv4 address if there is one: clients with the name try all addresses, but a client with 127.0.0.1 would
        # not find ::1.
        family, address = min(addresses, key=lambda found: found[0] != socket.AF_INET)
        with os_errors_as(ConnectError, doing):
            sock = socket.socket(family, socket.SOCK_STREAM)
            with closed_on_error(sock):
                # A restarted server gets its port although old connections linger.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # IPv6 only, whatever the system's default: one process can listen at [::] and 0.0.0.0, and no peer has
                # an address like ::ffff:1.2.3.4.
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                _prepare(sock)
                # Accepted sockets inherit it. Otherwise the system buffers 4 MB for each peer that does not read.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWERS_BYTES)
                sock.bind(address)
                sock.listen(backlog)
                host, port = sock.getsockname()[:2]
                where = str(Url(scheme=url.scheme, host=host, port=port))
                return SocketListener(sock, where, lambda sock, address: wrap(_accepted_stream(sock, address)))

    def _resolve(self, url: Url, doing: str, timeout_s: float) -> Sequence[SocketAddress]:
        host, port = url.host, url.port or 0
        if _is_address(host):
            # This needs no name server. It turns the name of an IPv6 zone into its number.
            with os_errors_as(ConnectError, doing):
                return system_resolver(host, port)
        # On a thread: the C library takes no deadline, and would hold back signal handlers while its name servers are
        # silent. The (daemon) thread of a resolver that never answers is left behind.
        outcome: list[Sequence[SocketAddress] | Exception] = []

        def ask() -> None:
            try:
                outcome.append(self._resolver(host, port))
            except Exception as error:  # noqa: BLE001 - it is raised again on the thread that asked
                outcome.append(error)

        thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if not outcome:
            raise ConnectTimeout(f"{doing}: timed out looking up {host!r}")
        addresses = outcome[0]
        if isinstance(addresses, Exception):
            with os_errors_as(ConnectError, doing):
                raise addresses
        if not addresses:
            raise ConnectError(f"{doing}: {host!r} has no address")
        return addresses


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _connect_one(family: socket.AddressFamily, address: tuple[Any, ...], timeout_s: float) -> SocketStream:
    sock = socket.socket(family, socket.SOCK_STREAM)
    with closed_on_error(sock):
        sock.settimeout(timeout_s)
        sock.connect(address)
        refuse_self_connection(sock)
        _prepare(sock)
        return _as_stream(sock, address)


def refuse_self_connection(sock: socket.socket) -> None:
    """Raise `ConnectionRefusedError` if a socket is its own peer."""
    # A client that keeps trying a dead local port may get that port for its own end. TCP then connects it to itself,
    # and the server cannot bind the port again.
    if sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError("connection refused (the port led back to itself)")


def _accepted_stream(sock: socket.socket, address: tuple[Any, ...]) -> SocketStream:
    # On Linux it inherits the options of its listener, which saves six system calls for each peer.
    if sys.platform != "linux":
        _prepare(sock)
    return _as_stream(sock, address)


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _VIGILANCE.items():
        # In some containers the option exists and the call is refused.
        with contextlib.suppress(AttributeError, OSError):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _as_stream(sock: socket.socket, address: tuple[Any, ...]) -> SocketStream:
    # Without the zone of a link-local address, which is an interface of this machine.
    return SocketStream(sock, str(address[0]).partition("%")[0])
