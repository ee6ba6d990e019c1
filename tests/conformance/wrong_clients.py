"""Clients that are wrong in one way each."""

from __future__ import annotations

from typing import Any

from bets_protocol import (
    Bet,
    BetBatch,
    OpenUpload,
    PeerClosed,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode,
    encode_bets,
)
from tests.conformance.tiny_client import ROWS, Line, RetryableCode, TinyClient, with_value


class SendsAnEmptyBatch(TinyClient):
    """Ends its upload with a batch of nothing."""

    def ask(self, line: Line) -> None:
        line.stream.send_all(encode(BetBatch(bets=self.bets[:1]), revision=8)[:1] + b"\0")
        line.stream.receive()


class SendsTooMuch(TinyClient):
    """Fills a batch with as many bets as the count can say."""

    def ask(self, line: Line) -> None:
        one = encode_bets(with_value(self.bets[:1], 0, first_name="x" * 60))
        line.stream.send_all(encode(BetBatch(bets=self.bets[:1]), revision=8)[:1] + b"\xff" + one * 255)
        line.stream.receive()


class SendsBadDocuments(TinyClient):
    """Does not look at what it sends."""

    def ask(self, line: Line) -> None:
        data = encode(BetBatch(bets=self.bets[:1]), revision=8)
        line.stream.send_all(data.replace(self.bets[0].document.encode(), b"1.234.56"))
        line.stream.receive()


class ReusesItsConnection(TinyClient):
    """Speaks revision 7 on one connection."""

    def job(self) -> None:
        self.revision = 8
        super().job()


class DoesNotWait(TinyClient):
    """Opens the next connection before the last message was answered."""

    def job(self) -> None:
        units = self.units()
        lines = [self.line() for _ in units]
        for line, unit in zip(lines, units, strict=True):
            line.stream.send_all(line.protocol.send(unit))
        for line, unit in zip(lines, units, strict=True):
            if line.answer().count == 0:
                self.refused(line, unit)
            line.close()
        self.ask(self.line())


class MixesAgencies(TinyClient):
    """Sends the bets of another agency among its own."""

    def units(self) -> list[Bet | BetBatch]:
        self.bets = with_value(self.bets, 4, agency=2)
        return super().units()


class BetsOn(TinyClient):
    """Has forgotten a bet when it asked for its winners."""

    def ask(self, line: Line) -> None:
        super().ask(line)
        line.exchange(BetBatch(bets=self.bets[:1]))


class NeverGivesUp(TinyClient):
    """Sends a refused batch again, at once and for ever."""

    def refused(self, line: Line, unit: Bet | BetBatch) -> None:
        while line.exchange(unit).count == 0:
            pass


class ForgetsWhatWasLost(TinyClient):
    """Takes a lost connection for an acknowledgement."""

    def job(self) -> None:
        units = self.units()
        line = self.line()
        while units:
            try:
                self.hand_in(line, units.pop(0))
            except ConnectionError:
                line = self.line()
        self.ask(line)

    def hand_in(self, line: Line, unit: Bet | BetBatch) -> None:
        line.stream.send_all(line.protocol.send(unit))
        if not (data := line.stream.receive(1)):
            raise ConnectionError
        line.protocol.receive_data(data)
        if line.answer().count == 0:
            self.refused(line, unit)


class ReadsOnce(TinyClient):
    """Thinks that the winners are what one `recv` gives."""

    def ask(self, line: Line) -> None:
        line.stream.send_all(line.protocol.send(WinnersRequest(agency=1)))
        line.protocol.receive_data(line.stream.receive() or b"")
        if not isinstance(line.protocol.next_event(), Winners):
            raise PeerClosed("no winners")


class SendsHalfAMessage(TinyClient):
    """Ends in the middle of a message."""

    def ask(self, line: Line) -> None:
        super().ask(line)
        line.stream.send_all(encode(WinnersRequest(agency=1), revision=8)[:1])


class WantsItsWinnersTwice(TinyClient):
    """Asks again when it has them."""

    def ask(self, line: Line) -> None:
        super().ask(line)
        super().ask(self.line())


class ComesBackWhenFenced(TinyClient):
    """Takes every code for a bad day."""

    def told_to_stop(self, status: UploadStatus) -> None:  # noqa: ARG002 - as it is overridden
        raise RetryableCode


class DoesNotSumUp(TinyClient):
    """Believes that the file is the same."""

    def check_sum(self, status: UploadStatus) -> None:
        """It does not."""


class NamesItselfAnew(TinyClient):
    """Draws the name of its upload by lot."""

    def opening(self, attempt: int) -> OpenUpload:
        return OpenUpload(agency=1, draw=1, total=ROWS, upload_id=bytes(15) + bytes([attempt]))


class StartsOver(TinyClient):
    """Begins with its first row, whatever is stored."""

    def send_from(self, line: Line, row: int) -> None:  # noqa: ARG002 - as it is overridden
        super().send_from(line, 0)


class AsksElsewhere(TinyClient):
    """Asks again on a new connection after INCOMPLETE."""

    def ask_again(self, line: Line) -> Any:  # noqa: ARG002 - as it is overridden
        raise RetryableCode


class TalksNonsense(TinyClient):
    """Says pieces of messages, and what is none."""

    def job(self) -> None:
        opening = encode(self.opening(0), revision=9)
        for data in (
            b"",
            b"\x01\x01\x00",
            b"\xff" * 100,
            bytes(600),
            opening + b"\x02\x01" * 3,
            opening * 2,
            opening[:9],
        ):
            line = self.line()
            line.stream.send_all(data)
            line.stream.close_writing()
            while line.stream.receive():
                pass

    upload = job


WRONG: tuple[tuple[type[TinyClient], int, set[str]], ...] = (
    (SendsAnEmptyBatch, 8, {"batches-are-not-empty"}),
    (SendsTooMuch, 8, {"batches-have-at-most-8192-bytes"}),
    (SendsBadDocuments, 8, {"values-keep-their-rules"}),
    (ReusesItsConnection, 7, {"connection-carries-one-message"}),
    (DoesNotWait, 7, {"answer-is-awaited-before-the-next-message"}),
    (MixesAgencies, 7, {"agency-stays-the-same"}),
    (BetsOn, 8, {"no-bets-follow-the-winners-request", "server-may-end-behind-the-winners"}),
    (NeverGivesUp, 8, {"refused-bets-are-not-sent-again"}),
    (ForgetsWhatWasLost, 8, {"no-answer-is-no-success"}),
    (ReadsOnce, 8, {"answers-may-come-in-pieces", "answers-are-read-before-the-end"}),
    (SendsHalfAMessage, 8, {"messages-are-sent-whole"}),
    (WantsItsWinnersTwice, 7, {"server-may-end-behind-the-winners"}),
    (ComesBackWhenFenced, 9, {"fenced-client-stays-away", "client-stops-where-the-codes-say-so"}),
    (DoesNotSumUp, 9, {"changed-file-is-noticed"}),
    (NamesItselfAnew, 9, {"upload-keeps-its-name-and-total", "upload-goes-on-at-stored"}),
    (StartsOver, 9, {"no-bets-beyond-the-total", "upload-goes-on-at-stored"}),
    (AsksElsewhere, 9, {"incomplete-is-asked-again"}),
)
"""Each with the revision that it speaks and the rules that it breaks."""
