"""Batches of bets with the rows that they came from, so that a refusal can name the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from bets_protocol.client.batch_source import BetSequence
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.encoded import encode_bets, encoded_batches
from bets_protocol.messages import Bet, BetRun


@attrs.frozen(kw_only=True)
class NumberedBatch:
    """One message with bets, and where they come from.

    Attributes:
        message: the message to send.
        count: how many bets it holds.
        name: of the input.
        first_row: the line of its first bet in the input; 0 if the input has no lines.
    """

    message: Bet | BetRun
    count: int
    name: str
    first_row: int

    @property
    def last_row(self) -> int:
        """The line of the last bet. Rows are consecutive lines."""
        return self.first_row + self.count - 1 if self.first_row else 0


def describe_rows(those: Sequence[NumberedBatch]) -> str:
    """The rows of `those` as `file:first-last`, with neighbours joined: `a.csv:1-260, a.csv:391-520`."""
    ranges: list[tuple[str, int, int]] = []
    for batch in those:
        if ranges and batch.first_row and ranges[-1][0] == batch.name and ranges[-1][2] + 1 == batch.first_row:
            ranges[-1] = (batch.name, ranges[-1][1], batch.last_row)
        else:
            ranges.append((batch.name, batch.first_row, batch.last_row))
    return ", ".join(
        name if not first else f"{name}:{first}" if first == last else f"{name}:{first}-{last}"
        for name, first, last in ranges
    )


def numbered_batches(
    sources: Iterable[CsvFile | BetSequence], *, revision: int, batch_max: int
) -> Iterator[NumberedBatch]:
    """All bets of `sources` in order, in the messages of a revision from 5 to 8; a batch never spans two sources.

    Raises:
        InputError: as `CsvFile.bets`, when the bad row is reached.
    """
    for source in sources:
        row = 1 if isinstance(source, CsvFile) else 0
        for message in _messages(source, revision, batch_max):
            count = message.count if isinstance(message, BetRun) else 1
            yield NumberedBatch(message=message, count=count, name=source.name, first_row=row)
            row += count if row else 0


def _messages(source: CsvFile | BetSequence, revision: int, batch_max: int) -> Iterator[Bet | BetRun]:
    if revision == 5:
        return source.bets()
    encoded = (encode_bets([bet]) for bet in source.bets())
    return encoded_batches(encoded, agency=source.agency, max_amount=batch_max, revision=revision)
