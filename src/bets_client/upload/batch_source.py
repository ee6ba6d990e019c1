"""The identity and the bets of an upload of revision 9, from a file or from the command line.

The identity is computed from the bytes of the input, so the same command finds the same upload again and the client
remembers nothing between two runs. A file is read twice: to check and hash it, and to send it. The second reading is
hashed as well, and the last batch is given out only if the hash is the same. So an upload never becomes complete with
other bets than those of its identity.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterator

from bets_client.config import ClientSettings
from bets_client.errors import FileChanged
from bets_client.input.csv_file import CsvFile
from bets_protocol import Bet, BetRun, encode_bets
from bets_protocol.connection.upload import Upload
from bets_protocol.encoded import encoded_batches


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


class FileBatchSource:
    """The rows of a checked file, as the source of an upload.

    Args:
        source: was read once to its end.
        batch_max: the most bets in a batch.
    """

    def __init__(self, source: CsvFile, batch_max: int) -> None:
        self._source = source
        self._batch_max = batch_max

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        """The CRC-32 of the bets before `row`, and the batches from `row` on; see `BatchSource`.

        Raises:
            FileChanged: the file has changed since it was checked.
            BadInput: it cannot be read.
        """
        self._source.require_unchanged()
        bets = self._source.checked_bets()
        crc32 = skipped = 0
        for bet in itertools.islice(bets, row):
            crc32 = zlib.crc32(bet, crc32)
            skipped += 1
        if skipped < row:
            raise FileChanged(f"{self._source.name}: the file has changed: it has {skipped:,} rows instead of {row:,}")
        return crc32, self._rest(bets)

    def _rest(self, bets: Iterator[bytes]) -> Iterator[BetRun]:
        for batch in encoded_batches(bets, agency=self._source.agency, max_amount=self._batch_max):
            self._source.require_unchanged()
            yield batch


class BetBatchSource:
    """One bet as the source of an upload."""

    def __init__(self, bet: Bet) -> None:
        self.encoded = encode_bets([bet])
        self._batch = BetRun(agency=bet.agency, count=1, encoded=self.encoded)

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        """As `FileBatchSource.resume`."""
        return (zlib.crc32(self.encoded), iter(())) if row else (0, iter((self._batch,)))


def upload_of_file(source: CsvFile, total: int, settings: ClientSettings, *, ask: bool) -> Upload:
    """The upload of a file.

    Args:
        source: was read to its end, so that it has its `digest`.
        total: how many bets it holds; all are good.
        ask: whether to ask for the winners afterwards.
    """
    return Upload(
        agency=source.agency,
        draw=settings.draw,
        total=total,
        upload_id=upload_id(source.agency, settings.draw, settings.label, source.digest),
        source=FileBatchSource(source, settings.batch_max),
        window=settings.window,
        ask=ask,
    )


def upload_of_bet(bet: Bet, settings: ClientSettings) -> Upload:
    """The upload of one bet; the encoded bet takes the place of the file's bytes."""
    batch_source = BetBatchSource(bet)
    digest = hashlib.sha256(batch_source.encoded).digest()
    return Upload(
        agency=bet.agency,
        draw=settings.draw,
        total=1,
        upload_id=upload_id(bet.agency, settings.draw, settings.label, digest),
        source=batch_source,
        ask=False,
    )
