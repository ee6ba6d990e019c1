"""What a session may ask, and what is answered: the words that the reactor and its workers have in common.

All of it is plain data. A `Work` goes to a worker with the requests of one session, and comes back with an `Answer` to
each of them.
"""

from __future__ import annotations

from typing import Final

import attrs

from bets_protocol import (
    Ack,
    EncodedBatch,
    InvalidFrame,
    OpenUpload,
    Probe,
    RejectCode,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_server.intake.identity import Holder
from bets_server.store import Ticket

Request = EncodedBatch | WinnersRequest | OpenUpload | InvalidFrame | Probe
"""What a session may ask; `InvalidFrame` and `Probe` ride along so that answers keep their order."""

REASONS: Final = {
    RejectCode.BAD_FRAME: "the message breaks the protocol",
    RejectCode.NOT_AUTHORIZED: "the upload is of another agency",
    RejectCode.FENCED: "a newer connection has this upload, or it was voided",
    RejectCode.MISMATCH: "the upload has another number of bets",
    RejectCode.OVERRUN: "the upload has no room for so many bets",
    RejectCode.SEALED: "the agency is sealed",
    RejectCode.DRAW_CLOSED: "the draw has taken place",
    RejectCode.INCOMPLETE: "an upload of the agency is unfinished",
    RejectCode.STORE_FULL: "the store is full",
    RejectCode.LIMIT: "the agency has too many uploads",
    RejectCode.WRONG_DRAW: "this server takes bets for another draw",
    RejectCode.MODE_CONFLICT: "the agency has sent bets for this draw in the other way, with or without an upload",
}
"""Why something was refused, for the log."""

_GOING_ON: Final = (RejectCode.OK, RejectCode.INCOMPLETE, RejectCode.DRAWN)


@attrs.frozen
class Refusal:
    """Why something is not done: the code, and the reason for the log."""

    code: RejectCode
    reason: str = attrs.field(default=attrs.Factory(lambda self: REASONS[self.code], takes_self=True))


@attrs.frozen(kw_only=True)
class Binding:
    """The upload that a connection is bound to, as its last answer told it.

    Attributes:
        ticket: what the store knows it by.
        stored: bets of it that are on disk.
        crc32: the running CRC-32 over them.
    """

    ticket: Ticket
    draw: int
    stored: int
    crc32: int

    def at(self, stored: int, crc32: int) -> Binding:
        """The same upload with other bets on disk."""
        return Binding(ticket=self.ticket, draw=self.draw, stored=stored, crc32=crc32)

    def status(self, code: RejectCode) -> UploadStatus:
        """A reply that says so."""
        return UploadStatus(code=code, draw=self.draw, stored=self.stored, crc32=self.crc32)


@attrs.frozen(kw_only=True)
class Answer:
    """What becomes of one request: it is a `Reply`, a `Park` or a `Close`.

    Attributes:
        error: why the request was refused; empty where it was not.
        binding: the upload after the request, where the session has one.
    """

    error: str = ""
    binding: Binding | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the peer is to blame for the refusal."""
        return bool(self.error)

    @property
    def ends_upload(self) -> bool:
        """Whether nothing that the peer has sent behind the request is looked at."""
        return False


@attrs.frozen(kw_only=True)
class Reply(Answer):
    """The peer gets `reply`, and directly behind it what is in `more`."""

    reply: Ack | Winners | Probe | UploadStatus
    more: tuple[Winners, ...] = ()

    @property
    def is_fault(self) -> bool:
        """Asking for winners too early is no fault: a client of revision 9 asks again every two seconds."""
        if not self.error:
            return False
        return not isinstance(self.reply, UploadStatus) or self.reply.code != RejectCode.INCOMPLETE

    @property
    def ends_upload(self) -> bool:
        """An `UploadStatus` with a code that refuses is the last word on an upload."""
        return isinstance(self.reply, UploadStatus) and self.reply.code not in _GOING_ON


@attrs.frozen(kw_only=True)
class Park(Answer):
    """The answer comes with the draw; until then the peer gets `reply`, if its revision has a word for waiting."""

    reply: UploadStatus | None = None


@attrs.frozen(kw_only=True)
class Close(Answer):
    """The revision has no word for this refusal: the connection is closed."""


@attrs.frozen(kw_only=True)
class Work:
    """The requests of one session, in order; its peer, for the log; its upload, where it has one.

    Attributes:
        holder: whom its certificate speaks for; None: nothing is known of that, and it may speak for anybody.
        refusal: why its upload is not opened, whatever the store thinks of it; None: it may be.
    """

    session: int
    peer: str
    requests: tuple[Request, ...]
    binding: Binding | None = None
    holder: Holder | None = None
    refusal: Refusal | None = None

    @property
    def is_opening(self) -> bool:
        """Whether it asks for an upload to be opened, and for nothing else yet."""
        return len(self.requests) == 1 and isinstance(self.requests[0], OpenUpload)


@attrs.frozen(kw_only=True)
class GroupOutcome:
    """The answers to a group: for each `Work`, its session and the answers; and whether it made the draw.

    There is an answer for each request, up to the one that ends an upload.
    """

    answers: tuple[tuple[int, tuple[Answer, ...]], ...]
    drawn_now: bool


def opens_upload(request: Request) -> bool:
    """Whether a request is the opening of an upload, with good values or with bad ones."""
    return isinstance(request, OpenUpload) or (isinstance(request, InvalidFrame) and request.kind is OpenUpload)


def refused(request: Request, refusal: Refusal, binding: Binding | None) -> Answer:
    """The answer to a request that is refused, as the revision of its session has it."""
    if binding is not None:
        return Reply(reply=binding.status(refusal.code), error=refusal.reason, binding=binding)
    if opens_upload(request):
        draw = request.draw if isinstance(request, OpenUpload) else 0
        return Reply(reply=UploadStatus(code=refusal.code, draw=draw, stored=0, crc32=0), error=refusal.reason)
    if isinstance(request, WinnersRequest):
        # Revisions 7 and 8 have no word for it: the client is let go, and asks again as after any lost connection.
        return Close(error=refusal.reason)
    return Reply(reply=Ack(count=0), error=refusal.reason)
