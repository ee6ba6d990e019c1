"""What a message means: message in, reply out. Runs on workers and is the only caller of the store.

A *group* is what one round of the reactor has collected, from all sessions. Its batches go to the store in one
transaction with one flush to disk, so that an answer costs a share of a flush; then uploads are opened, and each agency
that has asked for its winners is sealed, and the last one makes the draw.

A session of revision 9 is bound to an upload. The first of its messages that is refused is the last that is looked at:
what the client has sent behind it was sent in the belief that it would be stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from bets_protocol import (
    Ack,
    BetBatch,
    EncodedBatch,
    InvalidFrame,
    OpenUpload,
    Probe,
    RejectCode,
    UploadStatus,
    Winners,
    WinnersRequest,
    limits,
)
from bets_server.intake.identity import Holder
from bets_server.intake.winners import WinnersCache
from bets_server.store import BetStore, Parcel, Receipt, SealOutcome, StoreFull, Ticket, Verdict

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
        early = isinstance(self.reply, UploadStatus) and self.reply.code == RejectCode.INCOMPLETE
        return bool(self.error) and not early

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


@attrs.frozen
class Refusal:
    """Why something is not done: the code, and the reason for the log."""

    code: RejectCode
    reason: str


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


def random_number() -> int:
    """A winning number that nobody can foresee."""
    return secrets.randbelow(limits.MAX_BETTING_NUMBER + 1)


def answer_without_store(
    request: Request, binding: Binding | None = None, holder: Holder | None = None
) -> Answer | None:
    """The answer to a request that needs no store and so no worker; None for the others."""
    match request:
        case InvalidFrame(error=error, kind=kind) if binding is not None or kind is OpenUpload:
            code = RejectCode.BAD_BET if kind is BetBatch else RejectCode.BAD_FRAME
            status = UploadStatus(code=code, draw=0, stored=0, crc32=0) if binding is None else binding.status(code)
            return Reply(reply=status, error=error.summary)
        case InvalidFrame(error=error):
            return Reply(reply=Ack(count=0), error=error.summary)
        case Probe():
            return Reply(reply=request)
        case _ if holder is not None and not _may_ask(request, holder):
            return _not_authorized(request, binding, holder)
        case _:
            return None


def _may_ask(request: Request, holder: Holder) -> bool:
    """Whether everything that the request is about is of the agency that its sender has proved to be."""
    match request:
        case OpenUpload(agency=agency) | WinnersRequest(agency=agency):
            return agency == holder.agency
        case EncodedBatch(runs=runs):
            return all(run.agency == holder.agency for run in runs)
        case _:
            return True


def _not_authorized(request: Request, binding: Binding | None, holder: Holder) -> Answer:
    whom = "no agency" if holder.agency is None else f"agency {holder.agency} only"
    error = f"the certificate speaks for {whom}"
    if binding is not None:
        return attrs.evolve(_refused(RejectCode.NOT_AUTHORIZED, binding), error=error)
    if isinstance(request, OpenUpload):
        return attrs.evolve(_not_opened(RejectCode.NOT_AUTHORIZED, request.draw), error=error)
    # Revisions 5 to 8 have no word for it: a batch is refused, and who asks for winners is let go.
    return Reply(reply=Ack(count=0), error=error) if isinstance(request, EncodedBatch) else Close(error=error)


def answer_at_once(work: Work) -> tuple[Answer, ...] | None:
    """The answers to work that needs no store, up to the one that ends an upload; None: it needs one."""
    answers: list[Answer] = []
    for request in work.requests:
        answer = answer_without_store(request, work.binding, work.holder)
        if answer is None:
            return None
        answers.append(answer)
        if answer.ends_upload:
            break
    return tuple(answers)


class Handlers:
    """Answers requests from a store.

    Args:
        store: where the bets are.
        agencies: how many must ask before the draw.
        pick: gives the winning number when the draw takes place.
        draw: the id of the store's draw.

    Attributes:
        store: as given.
        agencies: as given.

    Thread: any; `answer_group` one at a time.
    """

    def __init__(self, store: BetStore, *, agencies: int, pick: Callable[[], int], draw: int = 1) -> None:
        self.store = store
        self.agencies = agencies
        self._pick = pick
        self._draw = draw
        self._drawn_now = False
        self._final = WinnersCache(store)

    def answer_group(self, group: Sequence[Work]) -> GroupOutcome:
        """The answers to `group`; what they say is on disk when this returns.

        Raises:
            StorageError: what is on disk is unknown: nobody may be answered.
        """
        self._drawn_now = False
        receipts = self._commit(group)
        answers = tuple(
            (work.session, tuple(self._answers(work, own))) for work, own in zip(group, receipts, strict=True)
        )
        return GroupOutcome(answers=answers, drawn_now=self._drawn_now)

    def expects(self, agency: int) -> bool:
        """Whether the draw waits for `agency`."""
        return 1 <= agency <= self.agencies

    def close_without(self, agency: int, reason: str = "") -> SealOutcome:
        """Seal an agency that will not come, unfinished uploads or not, and draw where it was the last one missing.

        Args:
            reason: why, for the audit.

        Raises:
            StoreFull: nothing changed.
            StorageError: what is on disk is unknown.
        """
        return self.store.seal_and_draw(agency, expected=self.agencies, pick=self._pick, forced=True, note=reason)

    def _commit(self, group: Sequence[Work]) -> list[Iterator[Receipt | None]]:
        """Store every batch of the group; gives each session what became of its own; None: there was no room."""
        parcels = [tuple(_parcels(work)) for work in group]
        everything = [parcel for own in parcels for parcel in own]
        receipts: Iterator[Receipt | None] = iter(())
        if everything:
            try:
                receipts = iter(self.store.commit(everything))
            except StoreFull:
                receipts = iter([None] * len(everything))
        return [iter(tuple(islice(receipts, len(own)))) for own in parcels]

    def _answers(self, work: Work, receipts: Iterator[Receipt | None]) -> Iterator[Answer]:
        """The answers to one session, up to the one that ends its upload."""
        binding = work.binding
        for request in work.requests:
            answer = answer_without_store(request, binding, work.holder)
            if answer is None and isinstance(request, OpenUpload) and work.refusal is not None:
                answer = self._refuse_to_open(request, work.refusal)
            if answer is None:
                answer = self._answer(request, binding, receipts, work.holder)
            yield answer
            if answer.ends_upload:
                return  # what was sent behind it did not go to the store, or has been refused as it no longer fits
            binding = answer.binding or binding

    def _answer(
        self, request: Request, binding: Binding | None, receipts: Iterator[Receipt | None], holder: Holder | None
    ) -> Answer:
        if isinstance(request, OpenUpload):
            return self._open(request, holder)
        if isinstance(request, WinnersRequest):
            return self._winners(request, binding, holder)
        if not isinstance(request, EncodedBatch):  # pragma: no cover - answered without the store
            raise TypeError(f"no answer to a {type(request).__name__}")
        if binding is None:
            return _plain_answer(request, next(receipts))
        if not _is_of(request, binding):
            return _refused(RejectCode.NOT_AUTHORIZED, binding)
        return _upload_answer(next(receipts), binding)

    def _open(self, request: OpenUpload, holder: Holder | None) -> Answer:
        if request.draw != self._draw:
            return _not_opened(RejectCode.WRONG_DRAW, self._draw)
        try:
            opening = self.store.open_upload(request.agency, request.upload_id, total=request.total, note=_who(holder))
        except StoreFull:
            return self._refuse_to_open(request, Refusal(RejectCode.STORE_FULL, REASONS[RejectCode.STORE_FULL]))
        status = UploadStatus(code=opening.code, draw=self._draw, stored=opening.stored, crc32=opening.crc32)
        if opening.ticket is None:
            return Reply(reply=status, error=REASONS[opening.code])
        binding = Binding(ticket=opening.ticket, draw=self._draw, stored=opening.stored, crc32=opening.crc32)
        return Reply(reply=status, binding=binding)

    def _refuse_to_open(self, request: OpenUpload, refusal: Refusal) -> Answer:
        """The answer to an opening that would have been possible: what it says of the upload is right all the same."""
        if request.draw != self._draw:
            return _not_opened(RejectCode.WRONG_DRAW, self._draw)
        known = self.store.find_upload(request.agency, request.upload_id)
        stored, crc32 = (0, 0) if known is None else (known.stored, known.crc32)
        status = UploadStatus(code=refusal.code, draw=self._draw, stored=stored, crc32=crc32)
        return Reply(reply=status, error=refusal.reason)

    def _winners(self, request: WinnersRequest, binding: Binding | None, holder: Holder | None) -> Answer:
        if binding is not None and request.agency != binding.ticket.agency:
            return _refused(RejectCode.NOT_AUTHORIZED, binding)
        try:
            pages = self._final.of(request.agency)
            if pages is None:
                outcome = self.store.seal_and_draw(
                    request.agency, expected=self.agencies, pick=self._pick, note=_who(holder)
                )
                if outcome.incomplete:
                    return _no_winners(RejectCode.INCOMPLETE, binding)
                self._drawn_now = self._drawn_now or outcome.drawn_now
                if outcome.drawn:
                    pages = self._final.of(request.agency)
        except StoreFull:
            return _no_winners(RejectCode.STORE_FULL, binding)
        if pages is None:
            return Park(reply=None if binding is None else binding.status(RejectCode.OK), binding=binding)
        if binding is not None:
            return Reply(reply=binding.status(RejectCode.DRAWN), more=pages, binding=binding)
        count = sum(len(page.documents) for page in pages)
        if count > limits.MAX_WINNERS:
            return Close(error=f"{count} winners, a reply holds {limits.MAX_WINNERS}")
        return Reply(reply=pages[0])


def _who(holder: Holder | None) -> str:
    """Who asks, for the audit; empty where nobody has proved anything."""
    return "" if holder is None else f"certificate {holder.fingerprint}"


def _is_of(batch: EncodedBatch, binding: Binding) -> bool:
    """Whether all bets of a batch are of the upload's agency."""
    return all(run.agency == binding.ticket.agency for run in batch.runs)


def _parcels(work: Work) -> Iterator[Parcel]:
    """What of a session's requests goes to the store: its batches, on an upload up to the first one that cannot."""
    row = 0 if work.binding is None else work.binding.stored
    for request in work.requests:
        if work.binding is None:
            if isinstance(request, EncodedBatch) and (work.holder is None or _may_ask(request, work.holder)):
                yield Parcel(runs=request.runs)
        elif not isinstance(request, EncodedBatch) or not _is_of(request, work.binding):
            return
        else:
            yield Parcel(runs=request.runs, ticket=work.binding.ticket, first_row=row)
            row += request.count


def _plain_answer(batch: EncodedBatch, receipt: Receipt | None) -> Answer:
    """The answer to a batch of revisions 5 to 8."""
    if receipt is None:
        return Reply(reply=Ack(count=0), error=REASONS[RejectCode.STORE_FULL])
    if receipt.verdict is Verdict.STORED:
        return Reply(reply=Ack(count=batch.count))
    return Reply(reply=Ack(count=0), error=REASONS[receipt.verdict.value])


def _upload_answer(receipt: Receipt | None, binding: Binding) -> Answer:
    """The answer to a batch of an upload."""
    if receipt is None:
        return _refused(RejectCode.STORE_FULL, binding)
    now = attrs.evolve(binding, stored=receipt.stored, crc32=receipt.crc32)
    if receipt.verdict is Verdict.STORED:
        return Reply(reply=now.status(RejectCode.OK), binding=now)
    return _refused(receipt.verdict.value, now)


def _refused(code: RejectCode, binding: Binding) -> Answer:
    return Reply(reply=binding.status(code), error=REASONS[code], binding=binding)


def _no_winners(code: RejectCode, binding: Binding | None) -> Answer:
    # Revisions 7 and 8 have no word for it: the connection is closed and the client asks again, as after a lost one.
    return Close(error=REASONS[code]) if binding is None else _refused(code, binding)


def _not_opened(code: RejectCode, draw: int) -> Answer:
    return Reply(reply=UploadStatus(code=code, draw=draw, stored=0, crc32=0), error=REASONS[code])
