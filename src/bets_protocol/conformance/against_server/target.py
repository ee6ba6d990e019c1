"""The server under test as the rules see it: connections, new bets, and what the server said about them.

The target remembers which winning bets were acknowledged and which were refused, for the rules about the draw. It also
remembers which uploads a rule has left unfinished, so that they are finished before the next rule. Every method that
expects an answer raises `Broken` if another one comes, or none in time.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from bets_protocol import Ack, Bet, BetBatch, OpenUpload, RejectCode, TransportError, UploadStatus, encode
from bets_protocol.cli.docstrings import docstring_of
from bets_protocol.cli.tls_options import SCHEME
from bets_protocol.conformance.against_server.wire_client import Answer, Broken, WireClient, describe, expect_code
from bets_protocol.conformance.report import Rule
from bets_protocol.transports import Transport

if TYPE_CHECKING:
    from bets_protocol.conformance.against_server.draw_scenario import DrawScenario

_BARE_BET = 5  # the revision whose message is one bet, not a batch
_DOCUMENTS = 10**8
_EXTRA_AGENCIES = (254, 255)
"""Agencies that a draw waits for only if it waits for nearly all: their unfinished uploads do not delay the draw."""


Check = Callable[["Target"], None]


class NotTried(Exception):
    """The rule cannot be checked; the text says why."""


@attrs.frozen(kw_only=True)
class ServerRule(Rule):
    """A rule with the function that checks it, which raises `Broken` or `NotTried`."""

    check: Check


class RuleList(list[ServerRule]):
    """Rules in the order in which they are tried."""

    def rule(self, section: str, revisions: tuple[int, ...]) -> Callable[[Check], Check]:
        """Adds a rule made of a function: its name becomes the rule's name, its docstring what is expected."""

        def decorate(check: Check) -> Check:
            name = check.__name__.replace("_", "-")
            expected = " ".join(docstring_of(check).split())
            self.append(ServerRule(name=name, section=section, expected=expected, revisions=revisions, check=check))
            return check

        return decorate


@attrs.define(kw_only=True)
class Target:
    """The server under test and what was sent to it.

    Attributes:
        won: by agency, the documents of its winning bets, in the order in which they were acknowledged.
        refused: documents of winning bets that were refused or never acknowledged.
    """

    url: str
    revision: int
    agencies: int = 1  # that the draw waits for; the rules speak for agency 1, and in the draw for all of them
    draw_id: int = 1  # the draw that the server takes uploads for
    winning_number: int = 7574
    timeout_s: float = 5.0  # how long an answer may take
    transports: Mapping[str, Transport] | None = None
    won: dict[int, list[str]] = attrs.Factory(lambda: defaultdict(list))
    refused: set[str] = attrs.Factory(set)
    unfinished: list[OpenUpload] = attrs.Factory(list)  # that a rule has opened
    draw: DrawScenario | None = None  # once a rule has brought it about
    _next_document: int = attrs.Factory(lambda: secrets.randbelow(_DOCUMENTS))

    def connect(self, revision: int | None = None) -> WireClient:
        """A new connection, of the target's revision or of the given one."""
        return WireClient(self.url, revision or self.revision, timeout_s=self.timeout_s, transports=self.transports)

    def bet(self, **values: Any) -> Bet:
        """A bet with a document that no other bet has."""
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
        """A bet with a new document and the number that will be drawn."""
        return self.bet(number=self.winning_number, **values)

    @property
    def single_agency(self) -> bool:
        """Whether the rules can speak for agency 1 only, because their certificate names only that one."""
        return self.url.lower().startswith(SCHEME)

    def extra_agency(self, *, plain: bool = False) -> int:
        """An agency that the draw does not wait for; the `plain` one has no uploads. Raises `NotTried` without one."""
        if self.single_agency:
            raise NotTried("it takes more than one agency, and a certificate speaks for one")
        agency = _EXTRA_AGENCIES[plain]
        if agency <= self.agencies:
            raise NotTried(f"it takes an agency that the draw does not wait for, such as {agency}")
        return agency

    def bets(self, count: int) -> tuple[Bet, ...]:
        """`count` new bets."""
        return tuple(self.bet() for _ in range(count))

    def message(self, *bets: Bet) -> Bet | BetBatch:
        """The message that submits bets in this revision: a batch, or the first bet alone."""
        return bets[0] if self.revision == _BARE_BET else BetBatch(bets=bets)

    def frame(self, *bets: bytes) -> bytes:
        """The same message around bets that are already encoded, valid or not."""
        fillers = self.bets(len(bets))
        size = sum(len(encode(bet, revision=_BARE_BET)) for bet in fillers)
        header = encode(self.message(*fillers), revision=self.revision)[:-size]
        return header + b"".join(bets)

    def ready(self, total: int, *, agency: int = 1) -> contextlib.AbstractContextManager[WireClient]:
        """A connection on which `total` bets can be submitted; on revision 9 an upload of that many is open."""
        return self.connect() if self.revision < 9 else self.opened(self.upload(total, agency=agency))

    def upload(self, total: int, *, agency: int = 1) -> OpenUpload:
        """An upload with an id that no other upload has."""
        return OpenUpload(agency=agency, draw=self.draw_id, total=total, upload_id=secrets.token_bytes(16))

    @contextlib.contextmanager
    def opened(self, upload: OpenUpload) -> Iterator[WireClient]:
        """A connection on which `upload` is open."""
        with self.connect() as client:
            self.open(client, upload)
            yield client

    def open(self, client: WireClient, upload: OpenUpload) -> UploadStatus:
        """Opens an upload with the code OK, and notes that it has to be finished later."""
        if upload not in self.unfinished:
            self.unfinished.append(upload)
        client.send(upload)
        return expect_code(client.receive(), RejectCode.OK)

    def submit(self, client: WireClient, *bets: Bet) -> None:
        """Sends bets in one message and expects that they are stored."""
        client.send(self.message(*bets))
        self.expect_stored(client.receive(), *bets)

    def expect_stored(self, answer: Answer, *bets: Bet) -> None:
        """Checks that `answer` acknowledges `bets`."""
        if self.revision >= 9:
            expect_code(answer, RejectCode.OK)
        elif answer == Ack(count=0):
            raise Broken(f"{len(bets)} sound bets were refused")
        for bet in bets:
            if bet.number == self.winning_number:
                self.won[bet.agency].append(bet.document)

    def expect_refused(self, answer: Answer, code: RejectCode, *bets: Bet) -> None:
        """Checks that `answer` refuses `bets`, on revision 9 with `code`."""
        self.refused.update(bet.document for bet in bets if bet.number == self.winning_number)
        if self.revision >= 9:
            expect_code(answer, code)
        elif answer != Ack(count=0):
            raise Broken(f"{describe(answer)}, for what had to be refused")

    def finish_uploads(self) -> None:
        """Finishes the uploads that a rule has opened, as far as the server allows: unfinished they delay the draw."""
        for upload in self.unfinished:
            self.finish_upload(upload)
        self.unfinished.clear()

    def finish_upload(self, upload: OpenUpload) -> None:
        """Submits the bets that an upload still needs, as far as the server allows."""
        with contextlib.suppress(Broken, TransportError), self.connect() as client:
            client.send(upload)
            missing = upload.total - expect_code(client.receive(), RejectCode.OK).stored
            while missing > 0:
                count = min(missing, 100)
                client.send(BetBatch(bets=[self.bet(agency=upload.agency) for _ in range(count)]))
                self.expect_stored(client.receive())
                missing -= count
