"""Rows of a CSV file as bets: `first_name,last_name,document,birthdate,number`.

The file is read as bytes, and each line is decoded and split on its own. So memory is bounded whatever the file holds,
a bad byte or an unclosed quote costs one row only, and a line's number is the row's. A row cannot span lines, because
no field may hold a line feed. Accepted are UTF-8 with or without BOM, LF or CRLF, quoted fields, and blank lines at the
very end. The agency is not in the rows, see `resolve_agency`. Every reading hashes the bytes, so that a later one can
tell whether it has read the same file.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, TypeAlias

from bets_protocol import Bet, ConfigError, InvalidMessage, encode_bets, limits
from bets_protocol.client.bet_cache import CachedBets
from bets_protocol.errors import BadRow, InputError, SourceChanged, why_unreadable

FIELDS = ("first_name", "last_name", "document", "birthdate", "number")

MAX_LINE_BYTES = 4096
"""Bytes of one line with its end. The longest row has 1,050: two names of 255 quotes, which are doubled."""

PIECE_BYTES = 1 << 15
"""Bytes that are read at a time."""

_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"0*([0-9]+)")
_MAX_DIGITS = 9
"""More digits than any allowed number has, and few enough for a fast `int`."""

_SHOWN_CHARACTERS = 40


WHOLE_ROW = "row"
"""The field of a `BadRow` that concerns no single field."""

Guard: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes a context for an operation that may wait or take long; a program's raises if the program was asked to stop."""


class CsvFile:
    """One input file, which may be read several times from its start.

    A pipe can be read only once, so it is copied to a temporary file first.

    Args:
        source: the path of the file, or the file, opened in binary mode; that stays open, at any position.
        agency: the agency of the bets, 1 to 255.
        name: for messages; by default the path.
        guard: for each reading of the file.
        may_be_odd: whether a piece of the file may hold what its user should look at.

    Attributes:
        name: for messages.
        digest: SHA-256 of all of its bytes in the first complete reading; b"" before that.
        kept: the checked bets, or None if they are not kept.
        may_be_odd: during the first reading, whether the last row may hold something odd.

    Raises:
        InputError: it cannot be opened.
        ConfigError: it must be copied, and the copy cannot be written.

    Thread: one.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        agency: int,
        *,
        name: str | None = None,
        guard: Guard = contextlib.nullcontext,
        may_be_odd: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
        self.name = name or (path if isinstance(path, str) else "the input")
        self.agency = agency
        self._guard = guard
        self._is_odd = may_be_odd
        self.digest = b""
        self.kept: CachedBets | None = None
        self.may_be_odd = self._last_may_be_odd = False
        self._last_digest = b""  # of the last reading that came to the end
        self._file = _open_seekable(source, self.name, guard)
        self._written = self._last_written()

    def rows(self) -> Iterator[Bet | BadRow]:
        """Every row in order, as a bet or as a `BadRow`; an empty input has none.

        Raises:
            InputError: reading failed.
        """
        blank: range = range(0)  # the latest blank lines, which are good only at the end of the file
        for line, text in self._lines():
            if len(text) <= 2 and text in {b"", b"\n", b"\r\n"}:
                blank = range(blank.start if blank else line, line + 1)
                continue
            if blank:
                for number in blank:
                    yield self._bad_row(number, "expected a row, found a blank line")
                blank = range(0)
            yield self._row(line, text)

    def bets(self) -> Iterator[Bet]:
        """Every row as a bet.

        Raises:
            BadRow: at the first bad row, after the bets before it.
            InputError: reading failed, or there is no row.
        """
        row: Bet | BadRow | None = None
        for row in self.rows():
            if isinstance(row, BadRow):
                raise row
            yield row
        if row is None:
            raise self.empty()

    def checked_bets(self) -> Iterator[bytes]:
        """Every row of the checked file as an encoded bet, read again.

        Raises:
            SourceChanged: at the first row that is no longer a bet, or at the end if the bytes are not those of
                `digest`.
            InputError: reading failed.
        """
        for row in self.rows():
            if isinstance(row, BadRow):
                raise self._changed(f"{row.line}: {row.field}: {row.reason}")
            yield encode_bets([row])
        if self._last_digest != self.digest:
            raise self._changed("its bytes are not those that were checked")

    def require_unchanged(self) -> None:
        """Check that the file was not written to since it was opened. Costs one system call.

        Raises:
            SourceChanged: its size or its time of change differs.
            InputError: the system call failed.
        """
        if self._last_written() != self._written:
            raise self._changed("it was written to")

    def _changed(self, how: str) -> SourceChanged:
        return SourceChanged(f"{self.name}: the file has changed since it was checked: {how}")

    def _last_written(self) -> tuple[int, int]:
        try:
            found = os.fstat(self._file.fileno())
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_size, found.st_mtime_ns

    def empty(self) -> InputError:
        """The error for an input without a row."""
        return InputError(f"{self.name}: the file is empty: expected rows of {','.join(FIELDS)}")

    def close(self) -> None:
        """Close the file and drop its bets. Calling it again has no effect."""
        if self.kept is not None:
            self.kept.drop()
        self._file.close()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Line numbers and lines. Of a line that is too long, only the start."""
        line = 0
        try:
            hashed = _Hashed(self._file, self._guard, None if self.digest else self._look_at)
            file = io.BufferedReader(hashed, PIECE_BYTES)
            while text := file.readline(MAX_LINE_BYTES + 1):
                line += 1
                yield line, text.removeprefix(_BOM) if line == 1 else text
                while len(text) > MAX_LINE_BYTES and not text.endswith(b"\n"):
                    text = file.readline(MAX_LINE_BYTES + 1)
            self._last_digest = hashed.digest()
            self.digest = self.digest or self._last_digest
        except OSError as error:
            raise self._unreadable(error) from error

    def _look_at(self, piece: bytes) -> None:
        before, self._last_may_be_odd = self._last_may_be_odd, self._is_odd(piece)
        self.may_be_odd = before or self._last_may_be_odd  # a line may begin in one piece and end in the next

    def _unreadable(self, error: OSError) -> InputError:
        return InputError(f"{self.name}: cannot read it: {why_unreadable(error)}")

    def _row(self, line: int, encoded: bytes) -> Bet | BadRow:
        if len(encoded) > MAX_LINE_BYTES:
            return self._bad_row(line, f"expected a line of at most {MAX_LINE_BYTES} bytes")
        try:
            text = encoded.decode("utf-8")
        except UnicodeDecodeError as error:
            return self._bad_row(line, not_utf_8(error))
        text = text.removesuffix("\n").removesuffix("\r")
        try:
            fields = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
        except csv.Error as error:
            return self._bad_row(line, f"expected fields as CSV quotes them: {error}")
        if len(fields) != len(FIELDS):
            return self._bad_row(line, f"expected {len(FIELDS)} fields ({','.join(FIELDS)}), found {len(fields)}")
        first_name, last_name, document, birthdate, number = fields
        try:
            return Bet(
                agency=self.agency,
                first_name=first_name,
                last_name=last_name,
                document=document,
                birthdate=birthdate,
                number=parse_number(number),
            )
        except InvalidMessage as error:
            return BadRow(self.name, line, error.path, with_found(error))

    def _bad_row(self, line: int, reason: str) -> BadRow:
        return BadRow(self.name, line, WHOLE_ROW, reason)


class _Hashed(io.RawIOBase):
    """Reads a file from its start and hashes its bytes.

    Args:
        guard: for each reading.
        look: called with each piece and the byte before it, or None.
    """

    def __init__(self, file: BinaryIO | IO[bytes], guard: Guard, look: Callable[[bytes], None] | None) -> None:
        self._guard = guard
        self._look = look
        self._before = b"\n"
        self._raw = io.FileIO(file.fileno(), closefd=False)
        self._raw.seek(0)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._guard():
            size = self._raw.readinto(buffer) or 0
        piece = memoryview(buffer)[:size]
        self._hash.update(piece)
        if self._look is not None and size:
            self._look(self._before + piece)
            self._before = bytes(piece[-1:])
        return size

    def digest(self) -> bytes:
        return self._hash.digest()


def parse_number(text: str) -> int:
    """Parse the number of a bet.

    Raises:
        InvalidMessage: `text` is not ASCII digits only (`int` would accept signs, blanks and underscores), or has too
            many of them. `Bet` refuses other numbers that are too large.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InvalidMessage("expected ASCII digits only", path="number", found=_shortened(text))
    if len(match[1]) > _MAX_DIGITS:
        highest = limits.MAX_BETTING_NUMBER
        raise InvalidMessage(f"expected a number from 0 to {highest}", path="number", found=_shortened(text))
    return int(match[1])


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")


def not_utf_8(error: UnicodeDecodeError) -> str:
    """The message for bytes that are not UTF-8."""
    return f"expected UTF-8, found byte 0x{error.object[error.start]:02x} at column {error.start + 1}"


def with_found(error: InvalidMessage) -> str:
    """What was expected of a field and what was found. For the owner of the data only, not for logs."""
    return error.reason + (f", found {error.found}" if error.found else "")


def _open_seekable(source: str | os.PathLike[str] | BinaryIO, name: str, guard: Guard) -> BinaryIO | IO[bytes]:
    try:
        with guard():  # opening a pipe waits for its other end
            file = open(source, "rb") if isinstance(source, str | os.PathLike) else _twin(source)  # noqa: SIM115
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            with file:
                return _spooled(file, name)
    except ConfigError:  # it is also a ValueError
        raise
    except OSError as error:
        raise InputError(f"{name}: cannot read it: {why_unreadable(error)}") from error
    except ValueError as error:  # a NUL in the path, a closed file
        raise InputError(f"{name}: cannot read it: {error}") from error


def _twin(file: BinaryIO) -> BinaryIO | IO[bytes]:
    """The same file with a descriptor of its own; of a file in memory a copy."""
    try:
        descriptor = file.fileno()
    except (AttributeError, OSError):  # in memory
        return _spooled(file, "the input")
    return os.fdopen(os.dup(descriptor), "rb")


def _spooled(once: BinaryIO | IO[bytes], name: str) -> IO[bytes]:
    """A temporary file with the content of `once`.

    Raises:
        ConfigError: the copy cannot be written.
        OSError: `once` cannot be read.
    """
    try:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the source
    except OSError as error:  # its text names the folders that were tried
        raise _unspooled(name, error.strerror or str(error)) from error
    try:
        while chunk := once.read(PIECE_BYTES):
            _append(copy, chunk, name)
    except BaseException:
        with contextlib.suppress(OSError):  # it tries to write the rest again
            copy.close()
        raise
    return copy


def _append(copy: IO[bytes], chunk: bytes, name: str) -> None:
    try:
        copy.write(chunk)
        copy.flush()  # it is read by its descriptor
    except OSError as error:
        held = os.fstat(copy.fileno()).st_size
        raise _unspooled(
            name, f"in {tempfile.gettempdir()}: {error.strerror or error}, after {held:,} bytes"
        ) from error


def _unspooled(name: str, how: str) -> ConfigError:
    return ConfigError(
        f"{name}: cannot copy it to a temporary file: {how}; set TMPDIR to a folder that can be written and has room "
        "for all of it, or name a file instead"
    )
