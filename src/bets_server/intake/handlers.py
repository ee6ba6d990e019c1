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
from typing import TypeAlias

from bets_protocol import Ack, EncodedBatch, OpenUpload, Probe, RejectCode, UploadStatus, WinnersRequest, limits
from bets_server.intake.authorize import refusal_of
from bets_server.intake.identity import Holder
from bets_server.intake.requests import (
    Answer,
    Binding,
    Close,
    GroupOutcome,
    Park,
    Refusal,
    Reply,
    Request,
    Work,
    opens_upload,
    refused,
)
from bets_server.intake.winners import WinnersCache
from bets_server.store import BetStore, Opening, Parcel, Receipt, SealOutcome, StoreFull, UploadState, Verdict

Step: TypeAlias = Parcel | Refusal | None
"""What is done about a request: a batch goes to the store, or the request is refused before; None: neither."""


def random_number() -> int:
    """A winning number that nobody can foresee."""
    return secrets.randbelow(limits.MAX_BETTING_NUMBER + 1)


def steps_of(work: Work) -> Iterator[Step]:
    """What is done about each request of a session, up to the first refusal that ends its upload."""
    binding = work.binding
    row = 0 if binding is None else binding.stored
    for request in work.requests:
        refusal = refusal_of(request, binding, work.holder)
        if refusal is not None:
            yield refusal
            if binding is not None or opens_upload(request):
                return
        elif not isinstance(request, EncodedBatch):
            yield None
        elif binding is None:
            yield Parcel(runs=request.runs)
        else:
            yield Parcel(runs=request.runs, ticket=binding.ticket, first_row=row)
            row += request.count


def answer_at_once(work: Work) -> tuple[Answer, ...] | None:
    """The answers to work that needs no store and so no worker, or None where it needs one."""
    answers: list[Answer] = []
    for request in work.requests:
        refusal = refusal_of(request, work.binding, work.holder)
        if refusal is not None:
            answers.append(refused(request, refusal, work.binding))
        elif isinstance(request, Probe):
            answers.append(Reply(reply=request))
        else:
            return None
        if answers[-1].ends_upload:
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
        steps = [tuple(steps_of(work)) for work in group]
        receipts = self._commit([step for own in steps for step in own if isinstance(step, Parcel)])
        # Each parcel has its receipt before the first answer is made: answers may end before the parcels of a session.
        done = [[(step, next(receipts) if isinstance(step, Parcel) else None) for step in own] for own in steps]
        answers = tuple((work.session, tuple(self._answers(work, own))) for work, own in zip(group, done, strict=True))
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

    def _commit(self, parcels: Sequence[Parcel]) -> Iterator[Receipt | None]:
        """Stores every batch of a group; gives what became of each, None where there was no room."""
        if not parcels:
            return iter(())
        try:
            return iter(self.store.commit(parcels))
        except StoreFull:
            return iter([None] * len(parcels))

    def _answers(self, work: Work, done: Sequence[tuple[Step, Receipt | None]]) -> Iterator[Answer]:
        """The answers to one session, up to the one that ends its upload."""
        binding = work.binding
        for request, (step, receipt) in zip(work.requests, done, strict=False):  # fewer, see `steps_of`
            if isinstance(step, Refusal):
                answer = refused(request, step, binding)
            else:
                answer = self._answer(request, receipt, binding, work)
            yield answer
            if answer.ends_upload:
                return  # what was sent behind it has been refused by the store, as it no longer fits
            binding = answer.binding or binding

    def _answer(self, request: Request, receipt: Receipt | None, binding: Binding | None, work: Work) -> Answer:
        match request:
            case EncodedBatch():
                return _batch_answer(request, receipt, binding)
            case OpenUpload():
                return self._open(request, work)
            case WinnersRequest():
                return self._winners(request, binding, work.holder)
            case Probe():
                return Reply(reply=request)
            case _:  # pragma: no cover - an invalid frame is refused before
                raise TypeError(f"no answer to a {type(request).__name__}")

    def _open(self, request: OpenUpload, work: Work) -> Answer:
        if request.draw != self._draw:
            return self._not_opened(Refusal(RejectCode.WRONG_DRAW))
        refusal = work.refusal
        if refusal is None:
            try:
                opening = self.store.open_upload(
                    request.agency, request.upload_id, total=request.total, note=_who(work.holder)
                )
            except StoreFull:
                refusal = Refusal(RejectCode.STORE_FULL)
            else:
                if opening.ticket is None:
                    return self._not_opened(Refusal(opening.code), opening)
                binding = Binding(ticket=opening.ticket, draw=self._draw, stored=opening.stored, crc32=opening.crc32)
                return Reply(reply=binding.status(opening.code), binding=binding)
        # It would have been possible: what the answer says of the upload is right all the same.
        return self._not_opened(refusal, self.store.find_upload(request.agency, request.upload_id))

    def _not_opened(self, refusal: Refusal, known: Opening | UploadState | None = None) -> Answer:
        stored, crc32 = (0, 0) if known is None else (known.stored, known.crc32)
        status = UploadStatus(code=refusal.code, draw=self._draw, stored=stored, crc32=crc32)
        return Reply(reply=status, error=refusal.reason)

    def _winners(self, request: WinnersRequest, binding: Binding | None, holder: Holder | None) -> Answer:
        try:
            pages = self._final.of(request.agency)
            if pages is None:
                outcome = self.store.seal_and_draw(
                    request.agency, expected=self.agencies, pick=self._pick, note=_who(holder)
                )
                if outcome.incomplete:
                    return refused(request, Refusal(RejectCode.INCOMPLETE), binding)
                self._drawn_now = self._drawn_now or outcome.drawn_now
                if outcome.drawn:
                    pages = self._final.of(request.agency)
        except StoreFull:
            return refused(request, Refusal(RejectCode.STORE_FULL), binding)
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


def _batch_answer(batch: EncodedBatch, receipt: Receipt | None, binding: Binding | None) -> Answer:
    if receipt is None:
        return refused(batch, Refusal(RejectCode.STORE_FULL), binding)
    now = None if binding is None else binding.at(receipt.stored, receipt.crc32)
    if receipt.verdict is not Verdict.STORED:
        return refused(batch, Refusal(receipt.verdict.value), now)
    return Reply(reply=Ack(count=batch.count)) if now is None else Reply(reply=now.status(RejectCode.OK), binding=now)
