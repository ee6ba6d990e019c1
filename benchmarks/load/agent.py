"""One agency of the load generator: sends what was encoded beforehand, one batch at a time, and waits for the answer.

It stands alone and imports little, so that it starts quickly, and is run by path with `python -I -S`: the server is to
be what is measured. What it sends lies in two files, see `benchmarks.load.payload`, and is never copied.

It behaves as the existing clients do: one connection, a batch, its answer, the next batch; at the end it asks for the
winners. Its conversation with whoever started it is on the standard streams, line by line: it writes ``ready`` once it
is connected, then does one step for each line it reads: ``upload``, ``winners``; after each it writes a JSON object.
Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import array
import json
import mmap
import socket
import sys
import time
from collections import deque


class UnexpectedAnswerError(Exception):
    """The server said something else than that the batch is stored."""


class WireServer:
    """A server that speaks the binary protocol, revision 8 or 7."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, frame: memoryview) -> int:
        """Sends a batch; returns what its acknowledgement must be."""
        self.socket.sendall(frame)
        return frame[1]

    def take_answer(self, expected: int) -> None:
        """Waits for an acknowledgement."""
        answer = self.socket.recv(1)
        if len(answer) != 1 or answer[0] != expected:
            raise UnexpectedAnswerError(f"expected the acknowledgement of {expected} bets, got {answer!r}")

    def winners(self, agency: int) -> int:
        """Asks for the winners; returns how many there are."""
        self.socket.sendall(bytes((2, agency)))
        count = int.from_bytes(self._exactly(2), "big")
        self._exactly(8 * count)
        return count

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise UnexpectedAnswerError("the server closed the connection")
            data += more
        return data


class HttpServer:
    """A server that takes whole HTTP requests on a connection that stays open."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, frame: memoryview) -> int:
        """Sends a request."""
        self.socket.sendall(frame)
        return 0

    def take_answer(self, _expected: int) -> None:
        """Waits for a whole answer."""
        self._body()

    def winners(self, agency: int) -> int:
        """Asks for the winners; returns how many there are."""
        self.socket.sendall(b"GET /winners/%d HTTP/1.1\r\nHost: bench\r\n\r\n" % agency)
        return len(json.loads(self._body())["documents"])

    def _body(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *fields = head.lower().split(b"\r\n")
        if first.split()[1] != b"200":
            raise UnexpectedAnswerError(data.decode(errors="replace"))
        length = next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
        while len(body) < length:
            body += self._more()
        return body

    def _more(self) -> bytes:
        more = self.socket.recv(65_536)
        if not more:
            raise UnexpectedAnswerError("the server closed the connection")
        return more


def upload(options: argparse.Namespace, server: WireServer | HttpServer) -> dict[str, object]:
    """Sends everything, `repeat` times over; returns when it began and ended and how long each answer took."""
    lengths = array.array("I")
    with open(f"{options.payload}.lengths", "rb") as file:
        lengths.frombytes(file.read())
    latencies = array.array("d")
    with (
        open(f"{options.payload}.frames", "rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as frames,
        memoryview(frames) as view,
    ):
        places, at = [], 0
        for length in lengths:
            places.append((at, at + length))
            at += length
        start, used = time.monotonic(), time.process_time()
        if options.window > 1:
            _ahead(server, view, places * options.repeat, options.window, latencies)
        else:
            for _ in range(options.repeat):
                server = _one_by_one(options, server, view, places, latencies)
        end = time.monotonic()
    keep = latencies if len(latencies) <= 20_000 else latencies[:: len(latencies) // 10_000]
    return {
        "start": start,
        "end": end,
        "batches": len(latencies),
        "latencies_s": [round(latency, 7) for latency in keep],
        "cpu_s": time.process_time() - used,
    }


def _one_by_one(
    options: argparse.Namespace,
    server: WireServer | HttpServer,
    view: memoryview,
    places: list[tuple[int, int]],
    latencies: array.array[float],
) -> WireServer | HttpServer:
    """Stop and wait. Returns the connection in use, which with `reconnect` is another one for every batch."""
    clock, note = time.monotonic, latencies.append
    for begin, end in places:
        sent = clock()
        server.take_answer(server.send(view[begin:end]))
        note(clock() - sent)
        if options.reconnect:
            server.socket.close()
            server = connect(options)
    return server


def _ahead(
    server: WireServer | HttpServer,
    view: memoryview,
    places: list[tuple[int, int]],
    window: int,
    latencies: array.array[float],
) -> None:
    """Keeps up to `window` batches unanswered."""
    waiting: deque[tuple[int, float]] = deque()
    for begin, end in places:
        if len(waiting) == window:
            expected, sent = waiting.popleft()
            server.take_answer(expected)
            latencies.append(time.monotonic() - sent)
        now = time.monotonic()
        waiting.append((server.send(view[begin:end]), now))
    for expected, sent in waiting:
        server.take_answer(expected)
        latencies.append(time.monotonic() - sent)


def connect(options: argparse.Namespace) -> WireServer | HttpServer:
    """A new connection to the server."""
    host, _, port = options.server.rpartition(":")
    return (HttpServer if options.http else WireServer)((host, int(port)))


def main() -> None:
    """Does the steps that are asked for on standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--payload", required=True)
    parser.add_argument("--agency", type=int, required=True)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--reconnect", action="store_true")
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    server = connect(options)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "upload":
            result = upload(options, server)
            if options.reconnect:
                server = connect(options)
        else:
            start = time.monotonic()
            count = server.winners(options.agency)
            result = {"start": start, "end": time.monotonic(), "winners": count}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, UnexpectedAnswerError, BrokenPipeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
