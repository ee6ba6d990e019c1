"""What the legacy `bets.csv` has no place for: which lines count, and the seals and draws.

`bets.csv.journal` lies beside it. One event is one line: eight hexadecimal digits of CRC-32, a space, JSON, LF. An
event counts when its line is whole on disk; lines of bets count when an event says so. The file only grows, and any
editor can read it. The events:

- `journal`: the first line; says whose file it is and in which version.
- `opened`: a program is about to write. `closed`: it has ended in good order.
- `bets`: `bets.csv` counts up to `length` bytes; what is new belongs to `draw`; `bets` says how many of which agency.
- `sealed`: an agency of a draw has asked for its winners.
- `drawn`: the draw is over: its number, and the documents of each agency's winners in order. `agency` is the one that
  asked last, sealed by this step or before.

A last line that is not whole is the remains of a write that nobody was told about: it does not count, and the next
event takes its place. A damaged line further up is an error.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from bets_protocol import StorageError
from bets_server.store._files import GrowingFile

VERSION: Final = 1
"""Raised when a program that knows only the older events would misread the file."""

_HEADER: Final = {"event": "journal", "of": "bets.csv", "version": VERSION}

Event: TypeAlias = Mapping[str, Any]


class Journal:
    """The open journal: read once from its start, then only added to.

    Attributes:
        file: the file beneath.

    Thread: the store's lock guards every call.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the journal, creating an empty one where `create` says so.

        Raises:
            StorageError: it cannot be opened.
        """
        self.file = GrowingFile(path, create=create)

    def read(self) -> Iterator[Event]:
        """The events so far, the header aside; after the last one, `append` goes on.

        Raises:
            StorageError: the file is no journal, of another version, or damaged; names the line.
        """
        data = self.file.read(0, self.file.size())
        *lines, rest = data.split(b"\n")
        for number, line in enumerate(lines, start=1):
            event = _event_of(line)
            if event is None and number == len(lines) and not rest:
                break
            if event is None or (number == 1) != (event["event"] == _HEADER["event"]):
                raise StorageError(f"{self.file.path}:{number}: the line is damaged")
            if number == 1 and event != _HEADER:
                raise StorageError(f"{self.file.path}:1: is not a journal of version {VERSION}: {dict(event)}")
            self.file.length += len(line) + 1
            if number > 1:
                yield event
        if not self.file.length and not _HEADER_LINE.startswith(data.rstrip(b"\0")):
            raise StorageError(f"{self.file.path}: is not the journal of a store")

    def append(self, *events: Event) -> None:
        """Cut off what does not count, add events, and wait for the disk.

        Raises:
            StoreFull: no room; no event counts.
            StorageError: which of them count is unknown.
        """
        if self.file.size() > self.file.length:
            self.file.cut()
        header = b"" if self.file.length else _HEADER_LINE
        self.file.append(header + b"".join(_line_of(event) for event in events))


def _line_of(event: Event) -> bytes:
    text = json.dumps(event, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _event_of(line: bytes) -> Event | None:
    """The event in a line, or None where the line is not whole."""
    text = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(text):
        return None
    event: Event = json.loads(text)
    return event


_HEADER_LINE: Final = _line_of(_HEADER)
