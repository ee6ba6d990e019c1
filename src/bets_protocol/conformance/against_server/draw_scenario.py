"""The draw: all agencies submit bets, ask for their winners and ask once more; the rules about the draw look at that.

A server has one draw, so one scenario does all that the rules need. A step that fails is noted under its name, and the
steps that do not depend on it are still done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bets_protocol import Ack, OpenUpload, RejectCode, TransportError, Winners, WinnersRequest, encode, limits
from bets_protocol.conformance.against_server.target import NotTried, Target
from bets_protocol.conformance.against_server.wire_client import PAUSE_S, Broken, WireClient, describe, expect_code

SILENCE_S = 0.3
"""Seconds without an answer after which it counts as held back; by then the server has also read the request."""

_MOST_ANSWERS = 64
"""Answers to one WinnersRequest, lists and signs of life, from which on they count as having no end."""

EARLY = "early"
TWICE = "asked twice"
SEALED = "sealed"
INCOMPLETE = "incomplete"
CLOSED = "after the draw"
OVER = "over for everybody"
AGAIN = "asked again"
REOPENED = "reopened"
DRAW = "draw"


class DrawScenario:
    """The draw of the server under test, which is played when the object is made."""

    def __init__(self, target: Target) -> None:
        self.winners: dict[int, tuple[str, ...]] = {}  # by agency, the documents that it was sent
        self.problems: dict[str, Exception] = {}  # by step, why it failed or was not tried
        self._target = target
        self._asked_too_early: WireClient | None = None
        self._finished: OpenUpload | None = None  # a second upload of agency 1
        self._unfinished: tuple[OpenUpload, WireClient] | None = None  # of an agency that the draw does not wait for
        with contextlib.ExitStack() as clients:
            self._clients = clients
            self._play()

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        try:
            yield
        except (Broken, TransportError, NotTried) as error:
            self.problems.setdefault(name, error)

    def _play(self) -> None:
        first = {}
        for agency in range(1, self._target.agencies + 1):
            with self._step(DRAW):
                first[agency] = self._client_with_bets(agency)
        if 1 not in first:
            return
        if self._target.revision >= 9:
            with self._step(INCOMPLETE):
                self._ask_while_incomplete(first[1])
            with self._step(OVER):
                upload = self._target.upload(2, agency=self._target.extra_agency())
                self._unfinished = upload, self._clients.enter_context(self._target.opened(upload))
        waiting: list[tuple[int, WireClient]] = []
        for agency, client in first.items():
            with self._step(DRAW):
                if (agency, client) != (1, self._asked_too_early):
                    client.send(WinnersRequest(agency=agency))
                waiting.append((agency, client))
            if agency == 1 and self._target.agencies > 1:
                with self._step(SEALED):
                    if self._target.revision >= 9 and client is not self._asked_too_early:
                        expect_code(client.receive(), RejectCode.OK)
                self._while_it_waits(client, waiting)
        for agency, client in waiting:
            with self._step(TWICE if agency in self.winners else DRAW):
                found = collect(client, revision=self._target.revision)
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

    def _client_with_bets(self, agency: int) -> WireClient:
        """A connection on which an agency has submitted its bets and can ask for its winners."""
        bets = [
            self._target.winning_bet(agency=agency),
            self._target.bet(agency=agency),
            self._target.winning_bet(agency=agency),
        ]
        client = self._clients.enter_context(self._target.ready(len(bets), agency=agency))
        self._target.submit(client, *bets)
        return client if self._target.revision != 7 else self._clients.enter_context(self._target.connect())

    def _ask_while_incomplete(self, client: WireClient) -> None:
        """Asks while another upload is unfinished, on both connections; the one of that upload goes on."""
        upload = self._target.upload(1)
        try:
            with self._target.opened(upload) as other:
                client.send(WinnersRequest(agency=1))
                self._asked_too_early = client  # unless it is refused, the request counts
                expect_code(client.receive(), RejectCode.INCOMPLETE)
                self._asked_too_early = None
                other.send(WinnersRequest(agency=1))
                expect_code(other.receive(), RejectCode.INCOMPLETE)
                self._target.submit(other, self._target.bet())
            self._finished = upload
        except (Broken, TransportError):
            self._target.finish_upload(upload)  # unfinished, it would delay the draw and fail every other rule
            raise

    def _reopened(self, upload: OpenUpload) -> WireClient:
        """A new connection of a finished upload, which can always be opened."""
        client = self._clients.enter_context(self._target.connect())
        status = self._target.open(client, upload)
        if status.stored != upload.total:
            raise Broken(f"{describe(status)}, of a finished upload of {upload.total}")
        return client

    def _send_behind_the_question(self, upload: OpenUpload) -> None:
        """Asks on another connection of agency 1 and sends a bet after that; it is answered now or after the draw."""
        bet = self._target.winning_bet()
        self._target.refused.add(bet.document)
        client = self._reopened(upload)
        client.send(WinnersRequest(agency=1))
        expect_code(client.receive(), RejectCode.OK)
        client.send_bytes(encode(self._target.message(bet), revision=self._target.revision))

    def _while_it_waits(self, client: WireClient, waiting: list[tuple[int, WireClient]]) -> None:
        """What holds while agency 1 has asked and the others have not."""
        with self._step(EARLY):
            client.expect_silence(SILENCE_S)
        with self._step(SEALED):  # not earlier: two connections may be served in any order
            self._expect_no_more_bets((RejectCode.SEALED,))
        with self._step(EARLY):
            client.expect_silence(PAUSE_S)
        if self._finished is not None:
            with self._step(REOPENED):
                self._send_behind_the_question(self._finished)
        if self._target.revision < 9:
            with self._step(TWICE):
                second = self._clients.enter_context(self._target.connect())
                second.send(WinnersRequest(agency=1))
                waiting.append((1, second))
                with self._step(SEALED):
                    self._expect_no_more_bets((RejectCode.SEALED,))
                second.expect_silence(SILENCE_S / 3)

    def _expect_no_more_bets(self, codes: tuple[RejectCode, ...]) -> None:
        """Agency 1, which has asked, tries to submit one more bet."""
        bet = self._target.winning_bet()
        self._target.refused.add(bet.document)
        with self._target.connect() as client:
            client.send(self._target.upload(1) if self._target.revision >= 9 else self._target.message(bet))
            answer = client.receive()
        if answer != Ack(count=0):
            expect_code(answer, *codes)

    def _expect_it_is_over(self) -> None:
        """An agency that has not asked, and that the draw did not wait for, cannot submit bets any more."""
        if self._target.revision < 9:
            bet = self._target.winning_bet(agency=self._target.extra_agency())
            with self._target.connect() as client:
                client.send(self._target.message(bet))
                client.expect_ack_0()
            return
        uploads = [self._target.upload(1, agency=self._target.extra_agency())]
        if self._unfinished is not None:
            upload, client = self._unfinished
            uploads.append(upload)
            client.send(self._target.message(self._target.bet(agency=upload.agency)))
            expect_code(client.receive(), RejectCode.DRAW_CLOSED)
        for upload in uploads:
            with self._target.connect() as client:
                client.send(upload)
                client.expect_last_code(RejectCode.DRAW_CLOSED)

    def _ask_again(self, agency: int, first: WireClient) -> None:
        """Asks again after the draw; on revision 9 on the connection of the upload."""
        client = first if self._target.revision >= 9 else self._clients.enter_context(self._target.connect())
        client.send(WinnersRequest(agency=agency))
        if (found := collect(client, revision=self._target.revision)) != self.winners[agency]:
            raise Broken(
                f"agency {agency} was told of other winners, {len(found)}, than before, {len(self.winners[agency])}"
            )


def collect(client: WireClient, *, revision: int) -> tuple[str, ...]:
    """The winners of one request, from all of its lists."""
    documents: list[str] = []
    for _ in range(_MOST_ANSWERS):
        answer = client.receive()
        if isinstance(answer, Winners):
            documents += answer.documents
            if revision < 9 or len(answer.documents) < limits.MAX_WINNERS:
                return tuple(documents)
        else:
            expect_code(answer, RejectCode.OK, RejectCode.DRAWN)  # signs of life
    raise Broken(f"no end of the winners after {_MOST_ANSWERS} answers with {len(documents)} documents")
