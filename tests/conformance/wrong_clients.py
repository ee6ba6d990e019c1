"""Clients that are wrong in one way each."""

from __future__ import annotations

from typing import Any

from bets_protocol import (
    Bet,
    BetBatch,
    OpenUpload,
    PeerClosed,
    RejectCode,
    RemoteProtocolError,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode,
    encode_bets,
)
from bets_protocol.conformance.against_client.scenarios import SCENARIOS
from tests.conformance.tiny_client import ROWS, Line, Refused, RetryableCode, TinyClient, with_value

SHORT_S = 0.2
"""For an end that comes at once, if it comes."""


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
        self.ask_until_answered(self.line())


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
        self.ask_until_answered(line)

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

    def rest(self, attempt: int) -> None:
        """A moment."""


class DoesNotSumUp(TinyClient):
    """Believes that the file is the same."""

    def check_sum(self, status: UploadStatus) -> None:
        """It does not."""


class NamesItselfAnew(TinyClient):
    """Draws the name of its upload by run."""

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


class ClaimsSuccess(TinyClient):
    """Takes no notice of refusals."""

    def refused(self, line: Line, unit: Bet | BetBatch) -> None:
        """What does it matter."""


class ComesBackWithWhatWasDismissed(TinyClient):
    """Takes the end of the connection for a reason to try again, whatever was said before."""

    def job(self) -> None:
        line = self.line()
        for unit in self.units():
            while line.exchange(unit).count == 0:
                line.stream.set_timeout(SHORT_S)
                line.stream.receive()  # the end, or nothing in time: that is a refusal
                line = self.line()
        self.ask_until_answered(line)

    def refused(self, line: Line, unit: Bet | BetBatch) -> None:
        """Is tried again."""


class AsksOnce(TinyClient):
    """Has no second question."""

    def ask_until_answered(self, line: Line) -> None:
        self.ask(line)


class FallsBack(TinyClient):
    """Speaks revision 8 where 9 is not known, and does not say so."""

    def upload(self) -> None:
        try:
            super().upload()
        except RemoteProtocolError:
            self.revision = 8
            self.job()


class DoesNotRest(TinyClient):
    """Comes back at once."""

    def rest(self, attempt: int) -> None:
        """It does not."""


class DoesNotComeBack(TinyClient):
    """Takes every code for the last word."""

    def told_to_come_back(self, status: UploadStatus) -> None:  # noqa: ARG002 - as it is overridden
        raise Refused


class TakesOneListForAll(TinyClient):
    """Does not wait for the list behind one that is full."""

    def goes_on(self, winners: Winners) -> bool:  # noqa: ARG002 - as it is overridden
        return False


class AsksAtOnce(TinyClient):
    """Asks again without a pause after INCOMPLETE."""

    def ask_again(self, line: Line) -> Any:
        return line.exchange(WinnersRequest(agency=1))


class WaitsForOneSign(TinyClient):
    """Does not expect to be told twice that it has to wait."""

    heard = 0

    def ask_until_told(self, line: Line) -> None:
        self.heard = 1
        super().ask_until_told(line)

    def expect_ok(self, status: UploadStatus) -> UploadStatus:
        if self.heard and status.reason is RejectCode.OK:
            self.heard += 1
        if self.heard > 2:
            raise Refused
        return super().expect_ok(status)

    def line(self) -> Line:
        self.heard = 0
        return super().line()


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


def together(*kinds: type[TinyClient]) -> type[TinyClient]:
    """A client that is wrong in several ways, which have nothing to do with each other: a check takes its time."""
    return type("And".join(kind.__name__ for kind in kinds), kinds, {})


STOPS = {scenario.rule.name for scenario in SCENARIOS if scenario.rule.name.startswith("client-stops")} | {
    "fenced-client-stays-away"
}
"""The rules about codes after which a client stops."""

COMES_BACK = {
    "upload-goes-on-at-stored",
    "stopped-server-is-waited-for",
    "wait-for-the-draw-is-taken-up-again",
    "winners-are-asked-for-again",
    "no-bets-follow-the-winners-request",
}
"""What a client breaks that does not know what is stored when it comes back."""

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
    (ComesBackWhenFenced, 9, STOPS),
    (DoesNotSumUp, 9, {"changed-file-is-noticed"}),
    (NamesItselfAnew, 9, {"upload-keeps-its-name-and-total", *COMES_BACK}),
    (StartsOver, 9, {"no-bets-beyond-the-total", *COMES_BACK}),
    (AsksElsewhere, 9, {"incomplete-is-asked-again"}),
    (ClaimsSuccess, 7, {"refused-bets-are-not-sent-again"}),
    (ComesBackWithWhatWasDismissed, 8, {"refusal-is-none-the-less-with-the-end"}),
    (AsksOnce, 8, {"winners-are-asked-for-again"}),
    (
        DoesNotComeBack,
        9,
        {
            "busy-server-is-asked-again",
            "full-store-is-tried-again",
            "limit-is-tried-again",
            "stopped-server-is-waited-for",
            "wait-for-the-draw-is-taken-up-again",
        },
    ),
    (
        together(FallsBack, DoesNotRest, AsksAtOnce),
        9,
        {
            "older-server-is-noticed",
            "messages-come-in-their-turn",
            "busy-server-is-left-in-peace",
            "incomplete-is-asked-again",
        },
    ),
    (
        together(TakesOneListForAll, WaitsForOneSign),
        9,
        {"full-list-has-another-behind-it", "signs-of-life-are-understood", "answers-are-read-before-the-end"},
    ),
)
"""Each with the revision that it speaks and the rules that it breaks."""
