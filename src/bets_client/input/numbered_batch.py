"""Batches of bets with the rows that they came from, so that a refusal can name the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bets_client.config import ClientSettings
from bets_protocol import Bet, BetRun, encode_bets
from bets_protocol.client.at_least_once import NumberedBatch
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.encoded import encoded_batches


def single(bet: Bet, name: str, settings: ClientSettings) -> NumberedBatch:
    """One bet that did not come from a file."""
    message = bet if settings.revision == 5 else BetRun(agency=bet.agency, count=1, encoded=encode_bets([bet]))
    return NumberedBatch(message=message, count=1, name=name, first_row=0)


def numbered_batches(sources: Iterable[CsvFile], settings: ClientSettings) -> Iterator[NumberedBatch]:
    """All bets of `sources` in order, in the messages of the revision; a batch never spans two files.

    Raises:
        InputError: as `CsvFile.bets`, when the bad row is reached.
    """
    for source in sources:
        row = 1
        for message in _messages(source, settings):
            count = message.count if isinstance(message, BetRun) else 1
            yield NumberedBatch(message=message, count=count, name=source.name, first_row=row)
            row += count


def _messages(source: CsvFile, settings: ClientSettings) -> Iterator[Bet | BetRun]:
    if settings.revision == 5:
        return source.bets()
    return encoded_batches(
        (encode_bets([bet]) for bet in source.bets()),
        agency=source.agency,
        max_amount=settings.batch_max,
        revision=settings.revision,
    )
