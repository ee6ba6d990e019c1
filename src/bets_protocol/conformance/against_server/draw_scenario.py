"""The draw as it went: all agencies hand bets in, ask, and ask again, once; the rules about the draw look at that.

A server has one draw, so what the rules need is done in one go. A step that goes wrong is remembered under its name and
ends no other, as far as that is possible.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bets_protocol import (
    Ack,
    OpenUpload,
    RejectCode,
    TransportError,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode,
    limits,
)
from bets_protocol.conformance.against_server.target import Bench, NotTried, expect_code, said
from bets_protocol.conformance.against_server.wire_client import PAUSE_S, Answer, Broken, Talk

SILENCE_S = 0.3
"""Seconds without an answer that count as being held back, and in which a server takes notice of a question."""

_MOST_ANSWERS = 64
"""Lists of winners and signs of life behind one question, before they count as having no end."""

EARLY = "early"
TWICE = "asked twice"
SEALED = "sealed"
INCOMPLETE = "incomplete"
CLOSED = "after the draw"
OVER = "over for everybody"
AGAIN = "asked again"
REOPENED = "reopened"
DRAW = "draw"


class DrawStory:
    """Everything about the draw of the server under test, in order.

    Attributes:
        winners: by agency, the documents that it was told.
        wrong: by step, what came instead of what was expected.
        not_tried: by step, why it was left out.
    """

    def __init__(self, bench: Bench) -> None:
        self.winners: dict[int, tuple[str, ...]] = {}
        self.wrong: dict[str, str] = {}
        self.not_tried: dict[str, str] = {}
        self._bench = bench
        self._asked_too_early: Talk | None = None
        self._finished: OpenUpload | None = None  # an upload of agency 1 beside its first
        self._unfinished: tuple[OpenUpload, Talk] | None = None  # one of an agency that nobody waits for
        with contextlib.ExitStack() as talks:
            self._talks = talks
            self._play()

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        try:
            yield
        except (Broken, TransportError) as error:
            self.wrong.setdefault(name, str(error))
        except NotTried as reason:
            self.not_tried[name] = str(reason)

    def _play(self) -> None:
        bench = self._bench
        first = {}
        for agency in range(1, bench.agencies + 1):
            with self._step(DRAW):
                first[agency] = self._talk_with_bets(agency)
        if 1 not in first:
            return
        if bench.revision >= 9:
            with self._step(INCOMPLETE):
                self._ask_while_incomplete(first[1])
            with self._step(OVER):
                self._leave_one_unfinished()
        waiting: list[tuple[int, Talk]] = []
        for agency, talk in first.items():
            with self._step(DRAW):
                if (agency, talk) != (1, self._asked_too_early):
                    talk.say(WinnersRequest(agency=agency))
                waiting.append((agency, talk))
            if agency == 1 and bench.agencies > 1:
                with self._step(SEALED):
                    self._expect_seal(talk)
                self._while_it_waits(talk, waiting)
        for agency, talk in waiting:
            with self._step(TWICE if agency in self.winners else DRAW):
                found = collect(talk, revision=self._bench.revision)
                if self.winners.setdefault(agency, found) != found:
                    raise Broken(f"agency {agency} was told other winners on its second connection")
        with self._step(CLOSED):
            self._expect_no_more_bets((RejectCode.SEALED, RejectCode.DRAW_CLOSED))
        with self._step(OVER):
            self._expect_it_is_over()
        for agency in self.winners:
            with self._step(AGAIN):
                self._ask_again(agency, first[agency])
        with self._step(REOPENED):
            if self._finished is None:
                raise NotTried("there is no finished upload that could be opened again")
            if 1 in self.winners:
                self._ask_again(1, self._reopened(self._finished))

    def _talk_with_bets(self, agency: int) -> Talk:
        """A connection on which an agency's bets were handed in and on which it can ask."""
        bench = self._bench
        bets = [bench.winning_bet(agency=agency), bench.bet(agency=agency), bench.winning_bet(agency=agency)]
        talk = self._talks.enter_context(bench.ready(len(bets), agency=agency))
        bench.hand_in(talk, *bets)
        return talk if bench.revision != 7 else self._talks.enter_context(bench.talk())

    def _expect_seal(self, talk: Talk) -> None:
        if self._bench.revision >= 9 and talk is not self._asked_too_early:
            expect_code(talk.answer(), RejectCode.OK)

    def _ask_while_incomplete(self, talk: Talk) -> None:
        """Asks beside an unfinished upload, and on its own connection, which goes on."""
        bench = self._bench
        upload = bench.upload(1)
        try:
            with bench.talk() as other:
                bench.open(other, upload)
                talk.say(WinnersRequest(agency=1))
                self._asked_too_early = talk  # unless it is told so, the question stands
                expect_code(talk.answer(), RejectCode.INCOMPLETE)
                self._asked_too_early = None
                other.say(WinnersRequest(agency=1))
                expect_code(other.answer(), RejectCode.INCOMPLETE)
                bench.hand_in(other, bench.bet())
            self._finished = upload
        except (Broken, TransportError):
            bench.finish(upload)  # else it would hold up the draw, and with it every other rule
            raise

    def _leave_one_unfinished(self) -> None:
        bench = self._bench
        upload = bench.upload(2, agency=bench.stranger())
        talk = self._talks.enter_context(bench.talk())
        bench.open(talk, upload)
        self._unfinished = upload, talk

    def _reopened(self, upload: OpenUpload) -> Talk:
        """A new connection of a finished upload, which can be opened whatever has happened meanwhile."""
        talk = self._talks.enter_context(self._bench.talk())
        status = self._bench.open(talk, upload)
        if status.stored != upload.total:
            raise Broken(f"{said(status)}, of a finished upload of {upload.total}")
        return talk

    def _send_behind_the_question(self, upload: OpenUpload) -> None:
        """Asks on another connection of agency 1, and sends a bet behind that; it is answered now or after the draw."""
        bench = self._bench
        bet = bench.winning_bet()
        bench.refused.add(bet.document)
        talk = self._reopened(upload)
        talk.say(WinnersRequest(agency=1))
        expect_code(talk.answer(), RejectCode.OK)
        talk.say_bytes(encode(bench.unit(bet), revision=bench.revision))

    def _while_it_waits(self, talk: Talk, waiting: list[tuple[int, Talk]]) -> None:
        """Agency 1 has asked and the others have not."""
        bench = self._bench
        with self._step(EARLY):
            talk.stay_silent(SILENCE_S)
        with self._step(SEALED):  # only now: two connections may be served in any order
            self._expect_no_more_bets((RejectCode.SEALED,))
        with self._step(EARLY):
            talk.stay_silent(PAUSE_S)
        if self._finished is not None:
            with self._step(REOPENED):
                self._send_behind_the_question(self._finished)
        if bench.revision < 9:
            with self._step(TWICE):
                second = self._talks.enter_context(bench.talk())
                second.say(WinnersRequest(agency=1))
                waiting.append((1, second))
                with self._step(SEALED):
                    self._expect_no_more_bets((RejectCode.SEALED,))
                second.stay_silent(SILENCE_S / 3)

    def _expect_no_more_bets(self, codes: tuple[RejectCode, ...]) -> None:
        """Agency 1, which has asked, tries to hand in one more bet."""
        bench = self._bench
        bet = bench.winning_bet()
        bench.refused.add(bet.document)
        with bench.talk() as talk:
            talk.say(bench.upload(1) if bench.revision >= 9 else bench.unit(bet))
            answer = talk.answer()
        if not (answer == Ack(count=0) or (isinstance(answer, UploadStatus) and answer.reason in codes)):
            raise Broken(said(answer))

    def _expect_it_is_over(self) -> None:
        """An agency that has not asked, and that nobody has waited for, can hand nothing in any more."""
        bench = self._bench
        if bench.revision < 9:
            bet = bench.winning_bet(agency=bench.stranger())
            with bench.talk() as talk:
                talk.say(bench.unit(bet))
                if (answer := talk.answer()) != Ack(count=0):
                    raise Broken(said(answer))
            return
        uploads = [bench.upload(1, agency=bench.stranger())]
        if self._unfinished is not None:
            upload, talk = self._unfinished
            uploads.append(upload)
            talk.say(bench.unit(bench.bet(agency=upload.agency)))
            expect_code(talk.answer(), RejectCode.DRAW_CLOSED)
        for upload in uploads:
            with bench.talk() as talk:
                talk.say(upload)
                expect_code(talk.answer(), RejectCode.DRAW_CLOSED)
                talk.expect_end()

    def _ask_again(self, agency: int, first: Talk) -> None:
        """Once more after the draw, on revision 9 on the connection that has its upload."""
        bench = self._bench
        talk = first if bench.revision >= 9 else self._talks.enter_context(bench.talk())
        talk.say(WinnersRequest(agency=agency))
        if (found := collect(talk, revision=self._bench.revision)) != self.winners[agency]:
            raise Broken(
                f"agency {agency} was told of other winners, {len(found)}, than before, {len(self.winners[agency])}"
            )


def collect(talk: Talk, *, revision: int) -> tuple[str, ...]:
    """The winners that are told, of all lists that follow each other.

    Raises:
        Broken: something else comes, nothing in time, or no end.
    """
    documents: list[str] = []
    for _ in range(_MOST_ANSWERS):
        answer = talk.answer()
        if isinstance(answer, Winners):
            documents += answer.documents
            if revision < 9 or len(answer.documents) < limits.MAX_WINNERS:
                return tuple(documents)
        elif not _goes_on(answer):
            raise Broken(said(answer))
    raise Broken(f"no end of the winners after {_MOST_ANSWERS} answers with {len(documents)} documents")


def _goes_on(answer: Answer) -> bool:
    """Whether an answer says that the winners are to come."""
    return isinstance(answer, UploadStatus) and answer.reason in (RejectCode.OK, RejectCode.DRAWN)
