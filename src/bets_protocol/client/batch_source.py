"""The identity and the bets of an upload of revision 9, from a file or from a program.

The identity is computed from the bytes of the input, so the same input finds the same upload again and the client
remembers nothing between two runs. A file is read twice: to check and hash it, and to send it. The second reading is
hashed as well, and the last batch is given out only if the hash is the same. So an upload never becomes complete with
other bets than those of its identity.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterable, Iterator

from bets_protocol.client.bet_cache import CachedBets
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.connection.upload import Upload
from bets_protocol.encoded import encode_bets, encoded_batches
from bets_protocol.errors import InputError, SourceChanged
from bets_protocol.messages import Bet, BetRun


def upload_id(agency: int, draw: int, label: str, digest: bytes) -> bytes:
    """The 16 bytes of an upload's identity.

    Args:
        label: at most 255 bytes of UTF-8.
        digest: SHA-256 of the input.

    Source: "Exactly-once uploads" in docs/protocol.md.
    """
    mark = label.encode("utf-8", "surrogateescape")
    named = b"bets-upload/1" + bytes([agency]) + draw.to_bytes(4) + bytes([len(mark)]) + mark + digest
    return hashlib.sha256(named).digest()[:16]


class CheckedSource:
    """The bets of a checked source in batches, from any row on.

    Args:
        source: was read once to its end.
        batch_max: the most bets in a batch.
    """

    def __init__(self, source: CsvFile | BetSequence, batch_max: int) -> None:
        self._source = source
        self._batch_max = batch_max

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        """The CRC-32 of the bets before `row`, and the batches from `row` on; see `BatchSource`.

        Raises:
            SourceChanged: the file has changed since it was checked.
            InputError: it cannot be read.
        """
        self._source.require_unchanged()
        kept = self._source.kept
        bets = iter(kept) if kept is not None and kept.complete else self._source.checked_bets()
        crc32 = skipped = 0
        for bet in itertools.islice(bets, row):
            crc32 = zlib.crc32(bet, crc32)
            skipped += 1
        if skipped < row:
            changed = f"the file has changed: it has {skipped:,} rows instead of {row:,}"
            raise SourceChanged(f"{self._source.name}: {changed}")
        return crc32, self._rest(bets)

    def _rest(self, bets: Iterator[bytes]) -> Iterator[BetRun]:
        for batch in encoded_batches(bets, agency=self._source.agency, max_amount=self._batch_max):
            self._source.require_unchanged()
            yield batch


class BetSequence:
    """Bets of a program, which are iterated over as often as they are needed; the counterpart of `CsvFile`.

    Args:
        bets: can be iterated over again, and gives the same bets.
        agency: the agency of all of them.
        name: for messages.

    Attributes:
        digest: SHA-256 of the encoded bets; b"" before the end of `bets`.
        kept: the encoded bets, or None if they are not kept.

    Raises:
        TypeError: `bets` is an iterator, which gives its items only once.
    """

    def __init__(self, bets: Iterable[Bet], agency: int, name: str) -> None:
        if isinstance(bets, Iterator):
            raise TypeError(f"{name}: expected a list or another collection, not an iterator, which can be read once")
        self.agency = agency
        self.name = name
        self.digest = b""
        self.kept: CachedBets | None = None
        self._bets = bets

    def rows(self) -> Iterator[Bet]:
        """The bets.

        Raises:
            InputError: one is no `Bet`, or is of another agency.
        """
        for number, bet in enumerate(self._bets):
            if not isinstance(bet, Bet):
                raise InputError(f"{self.name}: bets[{number}]: expected a Bet, not {type(bet).__name__}")
            if bet.agency != self.agency:
                raise InputError(f"{self.name}: bets[{number}].agency: expected {self.agency}, not {bet.agency}")
            yield bet

    def bets(self) -> Iterator[Bet]:
        """The bets, for the first reading, which finds their digest.

        Raises:
            InputError: as `rows`, or there is none.
        """
        digest = hashlib.sha256()
        empty = True
        for bet in self.rows():
            digest.update(encode_bets([bet]))
            empty = False
            yield bet
        if empty:
            raise InputError(f"{self.name}: there are no bets")
        self.digest = digest.digest()

    def checked_bets(self) -> Iterator[bytes]:
        """The encoded bets.

        Raises:
            SourceChanged: at the end, if they are not those of `digest`.
            InputError: as `rows`.
        """
        digest = hashlib.sha256()
        for bet in self.rows():
            encoded = encode_bets([bet])
            digest.update(encoded)
            yield encoded
        if digest.digest() != self.digest:
            raise SourceChanged(f"{self.name}: the bets have changed since they were checked")

    def require_unchanged(self) -> None:
        """Do nothing: only a new reading tells."""

    def close(self) -> None:
        """Drop the kept bets."""
        if self.kept is not None:
            self.kept.drop()


def new_upload(
    source: CsvFile | BetSequence, total: int, *, draw: int, label: str, batch_max: int, window: int
) -> Upload:
    """The upload of a source.

    Args:
        source: was read to its end, so that it has its `digest`; it names the upload.
        total: how many bets it holds; all are good.
        label: makes an identical source a different upload; at most 255 bytes of UTF-8.
        batch_max: the most bets in a batch.
    """
    return Upload(
        agency=source.agency,
        draw=draw,
        total=total,
        upload_id=upload_id(source.agency, draw, label, source.digest),
        source=CheckedSource(source, batch_max),
        window=window,
    )
