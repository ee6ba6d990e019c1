"""A peer for the client's tests: a real socket, and what happens on each connection written out as a function.

It speaks raw bytes as the contract has them, so that the client is not tested against its own library. A script runs
on a thread of its own; whatever goes wrong in one is raised again in the test when the server closes.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

DEADLINE_S = 20.0


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(DEADLINE_S)
        self.stream = stream

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; fewer only where the client has ended its side."""
        data = b""
        while len(data) < size and (chunk := self.stream.recv(size - len(data))):
            data += chunk
        return data

    def bet(self) -> bytes:
        """One bet with its length field, b"" at the end of the stream."""
        length = self.exactly(2)
        return length + self.exactly(int.from_bytes(length)) if length else b""

    def batch(self) -> list[bytes]:
        """The bets of one BetBatch frame of revision 7 and up; [] at the end of the stream."""
        kind = self.exactly(1)
        if not kind:
            return []
        assert kind == b"\x01", f"expected a batch, got type {kind!r}"
        return [self.bet() for _ in range(self.exactly(1)[0])]

    def batch_6(self) -> list[bytes]:
        """The bets of one batch of revision 6."""
        return [self.bet() for _ in range(self.exactly(1)[0])]

    def winners_request(self) -> int:
        """The agency that asks."""
        kind, agency = self.exactly(2)
        assert kind == 2, f"expected a request for winners, got type {kind}"
        return agency

    def open_upload(self) -> tuple[int, int, int, bytes]:
        """Agency, draw, total and upload id of an OpenUpload; its type and version are checked."""
        kind, version, agency, draw, total, upload_id = struct.unpack(">BBBIQ16s", self.exactly(31))
        assert (kind, version) == (3, 1), f"expected OpenUpload, got type {kind}, version {version}"
        return agency, draw, total, upload_id

    def status(self, code: int, stored: int, crc32: int = 0, draw: int = 1) -> None:
        """Send an UploadStatus."""
        self.send(struct.pack(">BBIQI", 0x83, code, draw, stored, crc32))

    def stored(self, bets: list[bytes]) -> None:
        """Say that `bets`, all that an upload has so far, are stored."""
        self.status(0, len(bets), zlib.crc32(b"".join(bets)))

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def acknowledge(self, bets: list[bytes]) -> None:
        self.send(bytes([len(bets)]))

    def winners(self, *documents: str) -> None:
        self.send(len(documents).to_bytes(2) + "".join(documents).encode())

    def flood(self, data: bytes) -> None:
        """Send `data` over and over until the client leaves; 256 MB at most, lest a client that takes all is a trap."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(256 * 1024 * 1024 // len(data)):
                self.send(data)
            self.at_end()

    def drip(self, data: bytes, every_s: float) -> None:
        """Send `data` a byte at a time, until the client leaves."""
        self.stream.settimeout(every_s)
        for byte in data:
            with contextlib.suppress(TimeoutError):
                if self.at_end():
                    return
            self.send(bytes([byte]))

    def at_end(self) -> bool:
        """Wait for the client to end its side; whether it did so without another byte."""
        try:
            return self.stream.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Break the connection so that the client gets an error rather than an end of stream."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Listens on a free port; the n-th connection runs the n-th script, later ones the last.

    Args:
        tls: the server's side of TLS; None: plain TCP. A client that is refused gets no script.

    Attributes:
        url: where it listens.
        accepted: how many connections came.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        self.accepted = 0
        self.failures: list[BaseException] = []
        self._closing = threading.Event()
        self._peers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="scripted server")
        self._acceptor.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                stream, _ = self._listener.accept()
                script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
                self.accepted += 1
                self._peers.append(stream)
                thread = threading.Thread(target=self._run, args=(script, stream), name="script")
                self._threads.append(thread)
                thread.start()

    def _run(self, script: Script, stream: socket.socket) -> None:
        try:
            if self._tls is not None:
                stream.settimeout(DEADLINE_S)
                with contextlib.suppress(ssl.SSLError):
                    stream = self._tls.wrap_socket(stream, server_side=True)
                    script(Peer(stream))
                return
            script(Peer(stream))
        except Exception as error:  # noqa: BLE001 - it is raised again in the test
            if not self._closing.is_set():
                self.failures.append(error)
        finally:
            stream.close()

    def close(self) -> None:
        """Stop; what a script still waits for ends with an error that nobody sees."""
        self._closing.set()
        self._acceptor.join(DEADLINE_S)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self.failures:
            raise self.failures[0]


@contextlib.contextmanager
def unused_port() -> Iterator[int]:
    """A port on which nobody listens, kept for the caller."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class Central:
    """A scripted server's script that behaves: stores batches, holds winners back until `agencies` have asked.

    Speaks revisions 7 to 9 by the first byte, as a real one does.

    Attributes:
        bets: the bets that came, in order, each as sent.
        asked: the agencies that asked, each time they did.
        uploads: the bets of each upload of revision 9, by its id.
    """

    def __init__(self, agencies: int = 1, winners: dict[int, list[str]] | None = None) -> None:
        self.bets: list[bytes] = []
        self.batch_sizes: list[int] = []
        self.asked: list[int] = []
        self.uploads: dict[bytes, list[bytes]] = {}
        self._agencies = agencies
        self._winners = winners or {}
        self._drawn = threading.Condition()

    def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        upload: list[bytes] | None = None
        while kind := peer.exactly(1):
            if kind == b"\x03":
                upload_id = peer.exactly(30)[-16:]
                upload = self.uploads.setdefault(upload_id, [])
                peer.stored(upload)
            elif kind == b"\x01":
                bets = [peer.bet() for _ in range(peer.exactly(1)[0])]
                self.bets += bets
                self.batch_sizes.append(len(bets))
                if upload is None:
                    peer.acknowledge(bets)
                else:
                    upload += bets
                    peer.stored(upload)
            else:
                agency = peer.exactly(1)[0]
                if upload is not None:
                    peer.stored(upload)
                with self._drawn:
                    self.asked.append(agency)
                    self._drawn.notify_all()
                    self._drawn.wait_for(lambda: len(set(self.asked)) >= self._agencies, DEADLINE_S)
                if upload is not None:
                    peer.status(16, len(upload), zlib.crc32(b"".join(upload)))
                peer.winners(*self._winners.get(agency, []))


def silent(peer: Peer) -> None:
    """Read and say nothing."""
    while peer.exactly(1):
        pass


def waits(peer: Peer) -> None:
    """Hold the answer back, as a server does before the draw; a probe is sent back."""
    kind = peer.exactly(1)
    if kind != b"\x02":
        peer.send(kind + peer.stream.recv(1024))
        return
    peer.exactly(1)
    assert peer.at_end()
