"""What the rules work with: connections, bets that nobody has sent before, and what is known of them.

The bench remembers which winning bets were acknowledged and which were refused, for the rules about the draw; and which
uploads a rule has left unfinished, so that they can be finished before the next.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from bets_protocol import Ack, Bet, BetBatch, OpenUpload, RejectCode, TransportError, UploadStatus, encode
from bets_protocol.cli.docstrings import docstring_of
from bets_protocol.cli.tls_options import SCHEME
from bets_protocol.conformance.against_server.wire_client import Answer, Broken, Talk
from bets_protocol.transports import Transport

UNTYPED = (5,)
"""Revisions that say one bet where the others say a batch."""

SINGLE = (5, 6)
"""Revisions of which the server ends the connection after its answer."""

PLAIN = (5, 6, 7, 8)
LASTING = (8, 9)
EVERY = (5, 6, 7, 8, 9)

_DOCUMENTS = 10**8

_STRANGERS = (254, 255)
"""Agencies that a draw waits for only if it waits for nearly all: what they leave unfinished holds nobody up."""


class NotTried(Exception):
    """The rule cannot be looked at; the text says why."""


@attrs.frozen(kw_only=True)
class Rule:
    """A sentence of the protocol that can be checked from outside.

    Attributes:
        name: words with hyphens.
        section: the heading in docs/protocol.md.
        expected: what a server that keeps it does.
        revisions: in which it holds.
        check: tries it; raises `Broken` where the server does otherwise.
        draws: it seals agencies and needs the draw.
    """

    name: str
    section: str
    expected: str
    revisions: tuple[int, ...]
    check: Callable[[Bench], None]
    draws: bool = False


def rule(section: str, revisions: tuple[int, ...], *, draws: bool = False) -> Callable[[Callable[[Bench], None]], Rule]:
    """Makes a rule of a function: its name is the rule's, its docstring what is expected."""

    def decorate(check: Callable[[Bench], None]) -> Rule:
        return Rule(
            name=check.__name__.replace("_", "-"),
            section=section,
            expected=" ".join(docstring_of(check).split()),
            revisions=revisions,
            check=check,
            draws=draws,
        )

    return decorate


@attrs.define(kw_only=True)
class Bench:
    """The server under test and what was said to it.

    Attributes:
        url: where it is.
        revision: what is checked.
        agencies: how many it waits for; the bench is agency 1, and all of them in the draw.
        draw_id: which draw it takes uploads for.
        winning_number: what it draws.
        timeout_s: how long an answer may take.
        transports: as `connect` takes them.
        won: by agency, the documents of its winning bets, in the order in which they were acknowledged.
        refused: documents of winning bets that were refused or never acknowledged.
        story: what is known of the draw, once a rule has brought it about.
    """

    url: str
    revision: int
    agencies: int = 1
    draw_id: int = 1
    winning_number: int = 7574
    timeout_s: float = 5.0
    transports: Mapping[str, Transport] | None = None
    won: dict[int, list[str]] = attrs.Factory(lambda: defaultdict(list))
    refused: set[str] = attrs.Factory(set)
    story: object = None
    _next_document: int = attrs.Factory(lambda: secrets.randbelow(_DOCUMENTS))
    _opened: list[OpenUpload] = attrs.Factory(list)

    def talk(self, revision: int | None = None) -> Talk:
        """A new connection, of another revision where one is given."""
        return Talk(self.url, revision or self.revision, timeout_s=self.timeout_s, transports=self.transports)

    def bet(self, **values: Any) -> Bet:
        """A bet of a document that nobody has had yet."""
        self._next_document = (self._next_document + 1) % _DOCUMENTS
        given: dict[str, Any] = {
            "agency": 1,
            "first_name": "Ana María",
            "last_name": "Ñandú Paz",
            "document": f"{self._next_document:08d}",
            "birthdate": "1999-03-17",
            "number": (self.winning_number + 1) % 10_000,
        }
        return Bet(**(given | values))

    def winning_bet(self, **values: Any) -> Bet:
        """Likewise, with the number that will be drawn."""
        return self.bet(number=self.winning_number, **values)

    @property
    def alone(self) -> bool:
        """Whether it can speak for agency 1 only: so says its certificate."""
        return self.url.lower().startswith(SCHEME)

    def stranger(self, *, plain: bool = False) -> int:
        """An agency that the draw does not wait for.

        Args:
            plain: the one that hands bets in without uploads; the other has uploads.

        Raises:
            NotTried: there is none.
        """
        if self.alone:
            raise NotTried("it takes more than one agency, and a certificate speaks for one")
        agency = _STRANGERS[plain]
        if agency <= self.agencies:
            raise NotTried(f"it takes an agency that the draw does not wait for, such as {agency}")
        return agency

    def bets(self, count: int) -> tuple[Bet, ...]:
        """So many bets."""
        return tuple(self.bet() for _ in range(count))

    def unit(self, *bets: Bet) -> Bet | BetBatch:
        """What the revision hands bets in with: a batch, or the first bet alone."""
        return bets[0] if self.revision in UNTYPED else BetBatch(bets=bets)

    def frame(self, *bets: bytes) -> bytes:
        """The same around bets that are bytes already, sound or not."""
        if self.revision in UNTYPED:
            return bets[0]
        fillers = tuple(self.bet() for _ in bets)
        size = sum(len(encode(bet, revision=UNTYPED[0])) for bet in fillers)
        header = encode(BetBatch(bets=fillers), revision=self.revision)[:-size]
        return header + b"".join(bets)

    @contextlib.contextmanager
    def ready(self, total: int, *, agency: int = 1) -> Iterator[Talk]:
        """A connection on which `total` bets can be handed in now; on revision 9 an upload of so many is open."""
        with self.talk() as talk:
            if self.revision >= 9:
                self.open(talk, self.upload(total, agency=agency))
            yield talk

    def upload(self, total: int, *, agency: int = 1) -> OpenUpload:
        """An upload with a name of its own."""
        return OpenUpload(agency=agency, draw=self.draw_id, total=total, upload_id=secrets.token_bytes(16))

    def open(self, talk: Talk, upload: OpenUpload) -> UploadStatus:
        """Opens an upload, and remembers that it has to be finished some time.

        Raises:
            Broken: it is not answered with OK.
        """
        self.remember(upload)
        talk.say(upload)
        return expect_code(talk.answer(), RejectCode.OK)

    def remember(self, upload: OpenUpload) -> None:
        """Has an upload finished some time: unfinished it would hold something up."""
        if upload not in self._opened:
            self._opened.append(upload)

    def hand_in(self, talk: Talk, *bets: Bet) -> None:
        """Says bets in one message and expects that they are stored.

        Raises:
            Broken: they are not.
        """
        talk.say(self.unit(*bets))
        self.expect_stored(talk.answer(), *bets)

    def expect_stored(self, answer: Answer, *bets: Bet) -> None:
        """Checks that `answer` acknowledges `bets`.

        Raises:
            Broken: it does not.
        """
        if self.revision >= 9:
            expect_code(answer, RejectCode.OK)
        elif answer == Ack(count=0):
            raise Broken(f"{len(bets)} sound bets were refused")
        for bet in bets:
            if bet.number == self.winning_number:
                self.won[bet.agency].append(bet.document)

    def expect_refused(self, answer: Answer, code: RejectCode, *bets: Bet) -> None:
        """Checks that `answer` refuses `bets`, on revision 9 with `code`.

        Raises:
            Broken: it does not.
        """
        self.refused.update(bet.document for bet in bets if bet.number == self.winning_number)
        if self.revision >= 9:
            expect_code(answer, code)
        elif answer != Ack(count=0):
            raise Broken(f"{said(answer)}, for what had to be refused")

    def settle(self) -> None:
        """Finishes the uploads that a rule has opened, as far as the server lets us: they would hold the draw up."""
        for upload in self._opened:
            self.finish(upload)
        self._opened.clear()

    def finish(self, upload: OpenUpload) -> None:
        """Hands in what an upload lacks, as far as the server lets us."""
        with contextlib.suppress(Broken, TransportError), self.talk() as talk:
            talk.say(upload)
            missing = upload.total - expect_code(talk.answer(), RejectCode.OK).stored
            while missing > 0:
                count = min(missing, 100)
                talk.say(BetBatch(bets=[self.bet(agency=upload.agency) for _ in range(count)]))
                self.expect_stored(talk.answer())
                missing -= count


def expect_code(answer: Answer, code: RejectCode) -> UploadStatus:
    """Checks that `answer` is an UploadStatus of `code`.

    Raises:
        Broken: it is not.
    """
    if not isinstance(answer, UploadStatus) or answer.reason is not code:
        raise Broken(said(answer))
    return answer


def said(answer: Answer) -> str:
    """An answer in words."""
    match answer:
        case Ack(count=count):
            return f"an Ack of {count}"
        case UploadStatus(stored=stored):
            return f"an UploadStatus {int(answer.reason)} ({answer.reason.name}), {stored} stored"
        case _:
            return f"a {type(answer).__name__}"
