"""The intake as one writes it first: `socketserver`, a blocking handler a connection, rows appended to a CSV file.

``--style threads`` is a thread a connection, ``--style processes`` a process (`ForkingTCPServer`). ``--parse
construct`` parses each bet with construct; ``--parse hand`` takes its fields out with slices.
Nothing is flushed to disk unless ``--fsync`` says so. It checks no more than that it can make a bet of what it reads.
"""

from __future__ import annotations

import argparse
import csv
import logging
import multiprocessing
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any

import construct as c

NUMBER = 7574

BET = c.Struct(
    "agency" / c.Int8ub,
    "first_name" / c.PascalString(c.Int8ub, "utf8"),
    "last_name" / c.PascalString(c.Int8ub, "utf8"),
    "document" / c.PaddedString(8, "ascii"),
    "birthdate" / c.PaddedString(10, "ascii"),
    "number" / c.Int16ub,
)


class Bet:
    """A bet with its values in their types."""

    def __init__(self, agency: int, first_name: str, last_name: str, document: str, birthdate: str, number: int):
        self.agency = agency
        self.first_name = first_name
        self.last_name = last_name
        self.document = document
        self.birthdate = date.fromisoformat(birthdate)
        self.number = number


def parse_with_construct(data: bytes) -> Bet:
    """A bet, behind its length."""
    bet = BET.parse(data)
    return Bet(bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate, bet.number)


def parse_by_hand(data: bytes) -> Bet:
    """The same, with slices."""
    first_end = 2 + data[1]
    last_end = first_end + 1 + data[first_end]
    texts = data[2:first_end], data[first_end + 1 : last_end], data[last_end : last_end + 8], data[-12:-2]
    first, last, document, birthdate = (text.decode() for text in texts)
    return Bet(data[0], first, last, document, birthdate, int.from_bytes(data[-2:], "big"))


class Book:
    """The CSV file. Thread, or process: any; a lock lets one at a time use it."""

    def __init__(self, path: Path, lock: AbstractContextManager[Any], *, fsync: bool) -> None:
        self._path = path
        self._lock = lock
        self._fsync = fsync

    def append(self, bets: list[Bet]) -> None:
        """Writes bets at the end."""
        with self._lock, self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_MINIMAL)
            for bet in bets:
                writer.writerow(
                    [bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate.isoformat(), bet.number]
                )
            if self._fsync:
                file.flush()
                os.fsync(file.fileno())

    def winners(self, agency: int) -> list[str]:
        """The documents of an agency's bets on the number."""
        with self._lock:
            return [bet.document for bet in self._all() if bet.number == NUMBER and bet.agency == agency]

    def _all(self) -> Iterator[Bet]:
        with self._path.open(newline="", encoding="utf-8") as file:
            for agency, *texts, number in csv.reader(file):
                first_name, last_name, document, birthdate = texts
                yield Bet(int(agency), first_name, last_name, document, birthdate, int(number))


def handler_class(
    parse: Callable[[bytes], Bet], book: Book, everybody: threading.Barrier
) -> type[socketserver.StreamRequestHandler]:
    """What serves one connection."""

    class Handler(socketserver.StreamRequestHandler):
        """Reads a message, answers it, and so on."""

        disable_nagle_algorithm = True

        def handle(self) -> None:
            """Serves the connection until its end."""
            while kind := self.rfile.read(1):
                if kind == b"\1":
                    (count,) = self.rfile.read(1)
                    bets = [parse(self.rfile.read(int.from_bytes(self.rfile.read(2), "big"))) for _ in range(count)]
                    book.append(bets)
                    logging.info("action: apuesta_recibida | result: success | cantidad: %d", len(bets))
                    self.wfile.write(bytes((len(bets),)))
                else:
                    (agency,) = self.rfile.read(1)
                    everybody.wait()
                    documents = book.winners(agency)
                    self.wfile.write(len(documents).to_bytes(2, "big") + "".join(documents).encode())

    return Handler


def main() -> None:
    """Serves as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--agencies", type=int, default=5)
    parser.add_argument("--style", choices=("threads", "processes"), default="threads")
    parser.add_argument("--parse", choices=("construct", "hand"), default="construct")
    parser.add_argument("--fsync", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
    forked = options.style == "processes"
    lock: AbstractContextManager[Any] = multiprocessing.Lock() if forked else threading.Lock()
    everybody: Any = (multiprocessing if forked else threading).Barrier(options.agencies)
    parse = parse_with_construct if options.parse == "construct" else parse_by_hand
    handler = handler_class(parse, Book(options.store, lock, fsync=options.fsync), everybody)
    server_class: Any = socketserver.ForkingTCPServer if forked else socketserver.ThreadingTCPServer
    server_class.request_queue_size = 64
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with server_class(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        print(f"port: {server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
