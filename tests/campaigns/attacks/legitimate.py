"""A client that means well, in a process of its own: one batch, its answer, the next; it notes how long each took.

It speaks raw bytes, so that what is measured is the server. Ends by SIGTERM, and then writes what it has noted.

Usage: ``python -m tests.campaigns.attacks.legitimate JSON``, the fields of `Errand`
"""

from __future__ import annotations

import array
import json
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import attrs

from tests.campaigns.faults.raw_agency import ask_message, batch_message, open_message, upload_id_of
from tests.campaigns.faults.witness import OK, STATUS_BYTES, parse_status
from tests.server.wire import bets

TIMEOUT_S = 60.0
TOTAL = 10**9
"""Bets that the upload claims: it never comes to its end."""


@attrs.frozen(kw_only=True)
class Errand:
    """What to do.

    Attributes:
        port: of the server, on 127.0.0.1.
        file: for pairs of seconds: when a request left, and how long until its answer was whole.
        agency: whose.
        batch: bets in each.
        asks: no uploading, but asking for the agency's winners again and again, on revision 8.
        tls: paths of certificate, key and CA; empty: not encrypted.
        pause_s: between an answer and the next request.
        connections: that work side by side: each has sent before the first is heard.
        label: tells their uploads from others of the agency.
        connections: how many work in turns; each sends, then each takes its answer.
        label: tells its uploads from others of the agency.
    """

    port: int
    file: str
    agency: int = 1
    batch: int = 50
    asks: bool = False
    tls: tuple[str, ...] = ()
    pause_s: float = 0.0
    connections: int = 1
    label: str = ""


def connected(port: int, tls: tuple[str, ...] = ()) -> socket.socket:
    """A connection to the server at `port`, encrypted where there are certificates."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return sock
    cert, key, authority = tls
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(cert, key)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < size:
        data = sock.recv(size - len(found))
        if not data:
            raise ConnectionResetError(f"the server ended the connection of a client that did nothing wrong: {found!r}")
        found += data
    return found


class Client:
    """One connection, and what it does over and over."""

    def __init__(self, errand: Errand, number: int) -> None:
        self._errand = errand
        self._socket = connected(errand.port, errand.tls)
        self._stored = 0
        self._batch = batch_message(bets(range(1, errand.batch + 1), agency=errand.agency))
        if not errand.asks:
            self._socket.sendall(
                open_message(errand.agency, upload_id_of(f"{errand.agency} {errand.label} {number}"), TOTAL)
            )
            self._take_status()

    def request(self) -> None:
        """Sends what it has to send."""
        self._socket.sendall(ask_message(self._errand.agency) if self._errand.asks else self._batch)

    def take_answer(self) -> None:
        """Waits for the answer."""
        if self._errand.asks:
            exactly(self._socket, 8 * int.from_bytes(exactly(self._socket, 2), "big"))
        else:
            self._stored += self._errand.batch
            self._take_status()

    def _take_status(self) -> None:
        status = parse_status(exactly(self._socket, STATUS_BYTES))
        if (status.code, status.stored) != (OK, self._stored):
            raise AssertionError(f"expected {self._stored} stored, actually {status}")


def main(text: str) -> None:
    """Works until it is told to end."""
    errand = Errand(**json.loads(text))
    told_to_end = False

    def end(_number: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    signal.signal(signal.SIGTERM, end)
    clients = [Client(errand, number) for number in range(errand.connections)]
    noted = array.array("d")
    print("at work", flush=True)
    while not told_to_end:
        began = time.monotonic()
        for client in clients:
            client.request()
        for client in clients:
            client.take_answer()
        noted.extend((began, time.monotonic() - began))
        if errand.pause_s:
            time.sleep(errand.pause_s)
    Path(errand.file).write_bytes(noted.tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
