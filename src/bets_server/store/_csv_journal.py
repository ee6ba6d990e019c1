"""What the legacy `bets.csv` has no place for: which lines count and whose they are, and the seals and draws.

`bets.csv.journal` lies beside it. One event is one line: eight hexadecimal digits of CRC-32, a space, JSON, LF. An
event counts when its line is whole on disk; lines of bets count when an event says so. The file only grows, and any
editor can read it. The events:

- `journal`: the first line; says whose file it is and in which version. Once more further down: from here on the
  version is a newer one.
- `opened`: a program is about to write. `closed`: it has ended in good order.
- `upload`: an upload with an identity was opened: for the first time where `epoch` is 1. Its `upload` number is one
  more than that of the newest upload so far, of whichever draw.
- `bets`: `bets.csv` counts up to `length` bytes; what is new belongs to `draw`. `runs` says whose it is, in the order
  of the file: number of the upload, agency, bets, bytes, and the CRC-32 of the upload up to here (0 where it is
  anonymous). A number that is new is that of an anonymous upload. Instead of `runs`, lines that another program added
  have `bets`: how many of which agency; they belong to the agencies' anonymous uploads, and where there is none, it
  takes the next number, in the order of `bets`.
- `sealed`: an agency of a draw has asked for its winners, or, with `forced`, was closed by an operator.
- `drawn`: the draw is over: its number, the documents of each agency's winners in order, how many bets took part and
  the digest over them. `agency` is the one that asked last, and `sealed` tells whether by this step.
- `void`: an upload counts no more, and its agency is no longer sealed.

`at` is the time, and the `note` of an `upload`, a `sealed` or a `drawn` says who it was or why, both for the audit.
Version 1 knew neither `upload`, `runs`, `forced`, `void` nor `at`, and of a draw only
its number and winners; its `bets` are always by agency.

A last line that is not whole is the remains of a write that nobody was told about: it does not count, and the next
event takes its place. A damaged line further up is an error.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bets_protocol import StorageError
from bets_server.store._csv_events import Event, event_of
from bets_server.store._files import GrowingFile

VERSION: Final = 2
"""Raised when a program that knows only the older events would misread the file. The older versions are read too; the
first write then adds the new one, at which older programs stop."""


class Journal:
    """The open journal: read once from its start, then only added to.

    Attributes:
        file: the file beneath.
        version: of the events so far; 0 where there are none.

    Thread: the store's lock guards every call.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the journal, creating an empty one where `create` says so.

        Raises:
            StorageError: it cannot be opened.
        """
        self.file = GrowingFile(path, create=create)
        self.version = 0

    def read(self) -> Iterator[tuple[str, Event]]:
        """The events so far, each with its place, the headers aside; after the last one, `append` goes on.

        Raises:
            StorageError: the file is no journal, of another version, or damaged; names the line.
        """
        data = self.file.read(0, self.file.size())
        *lines, rest = data.split(b"\n")
        if lines and not rest and not _is_whole(lines[-1]):
            del lines[-1]
        for place, line, event in _events_of(lines, self.file.path):
            self.file.length += len(line) + 1
            if event["event"] == "journal":
                self.version = event["version"]
            else:
                yield place, event
        if not self.file.length and not any(header.startswith(data.rstrip(b"\0")) for header in _HEADER_LINES):
            raise StorageError(f"{self.file.path}: is not the journal of a store")

    def events_in(self, lines: Iterable[bytes]) -> Iterator[tuple[str, Event]]:
        """The events of the lines that count, each with its place, the headers aside.

        Args:
            lines: all of them, from the first one on, as somebody has read them.

        Raises:
            StorageError: the file is damaged; names the line.
        """
        for place, _, event in _events_of(lines, self.file.path):
            if event["event"] != "journal":
                yield place, event

    def append(self, *events: Event) -> None:
        """Cut off what does not count, add events, and wait for the disk.

        Raises:
            StoreFull: no room; no event counts.
            StorageError: which of them count is unknown.
        """
        if self.file.size() > self.file.length:
            self.file.cut()
        headers = [_header(VERSION)] if self.version < VERSION else []
        self.file.append(b"".join(_line_of(event) for event in (*headers, *events)))
        self.version = VERSION


def _header(version: object) -> Event:
    return {"event": "journal", "of": "bets.csv", "version": version}


def _line_of(event: Event) -> bytes:
    text = json.dumps(event, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _is_whole(line: bytes) -> bool:
    return line[:9] == b"%08x " % zlib.crc32(line[9:])


def _events_of(lines: Iterable[bytes], path: Path) -> Iterator[tuple[str, bytes, Event]]:
    """The place, the line and the event, headers included."""
    version = 0
    for number, line in enumerate(lines, start=1):
        place = f"{path}:{number}"
        event = _event_in(line[9:], place) if _is_whole(line) else None
        if event is None or (number == 1 and event["event"] != "journal"):
            raise StorageError(f"{place}: the line is damaged")
        if event["event"] == "journal":
            version = _newer_version(event, version, place)
        yield place, line, event


def _event_in(text: bytes, place: str) -> Event:
    try:
        return event_of(json.loads(text.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{place}: the line is whole, but {error}") from None


def _newer_version(header: Event, version: int, where: str) -> int:
    newer: Any = header.get("version")
    if newer not in range(1, VERSION + 1) or header != _header(newer):
        raise StorageError(f"{where}: is not a journal of version {VERSION}: {dict(header)}")
    if newer <= version:
        raise StorageError(f"{where}: the line is damaged")
    return int(newer)


_HEADER_LINES: Final = tuple(_line_of(_header(version)) for version in range(1, VERSION + 1))
