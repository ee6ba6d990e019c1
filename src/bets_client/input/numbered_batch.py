"""Batches of bets with the rows that they came from, so that a refusal can name the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from bets_client.config import ClientSettings
from bets_client.input.csv_file import CsvFile
from bets_protocol import Bet, BetRun, encode_bets
from bets_protocol.encoded import encoded_batches


@attrs.frozen(kw_only=True)
class NumberedBatch:
    """One message with bets.

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
        """The line of the last bet. Rows are consecutive lines, because blank lines are refused."""
        return self.first_row + self.count - 1 if self.first_row else 0


def single(bet: Bet, name: str, settings: ClientSettings) -> NumberedBatch:
    """One bet that did not come from a file."""
    message = bet if settings.revision == 5 else BetRun(agency=bet.agency, count=1, encoded=encode_bets([bet]))
    return NumberedBatch(message=message, count=1, name=name, first_row=0)


def numbered_batches(sources: Iterable[CsvFile], settings: ClientSettings) -> Iterator[NumberedBatch]:
    """All bets of `sources` in order, in the messages of the revision; a batch never spans two files.

    Raises:
        BadInput: as `CsvFile.bets`, when the bad row is reached.
    """
    for source in sources:
        row = 1
        for message in _messages(source, settings):
            count = message.count if isinstance(message, BetRun) else 1
            yield NumberedBatch(message=message, count=count, name=source.name, first_row=row)
            row += count


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


def _messages(source: CsvFile, settings: ClientSettings) -> Iterator[Bet | BetRun]:
    if settings.revision == 5:
        return source.bets()
    return encoded_batches(
        (encode_bets([bet]) for bet in source.bets()),
        agency=source.agency,
        max_amount=settings.batch_max,
        revision=settings.revision,
    )
