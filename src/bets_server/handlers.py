"""What a message means: message in, reply out. Runs on workers and is the only caller of the store.

A *group* is what one round of the reactor has collected, from all sessions. Its batches go to the store in one
transaction with one flush to disk, so that an answer costs a share of a flush; then each agency that has asked for its
winners is sealed, and the last one makes the draw.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence

import attrs

from bets_protocol import Ack, EncodedBatch, InvalidFrame, Probe, Winners, WinnersRequest, limits
from bets_server.store import BetStore, StoreFull, Verdict

Request = EncodedBatch | WinnersRequest | InvalidFrame | Probe
"""What a session may ask; `InvalidFrame` and `Probe` ride along so that answers keep their order."""

_REFUSALS = {Verdict.SEALED: "the agency is sealed", Verdict.DRAW_CLOSED: "the draw has taken place"}
_STORE_FULL = "the store is full"


@attrs.frozen(kw_only=True)
class Answer:
    """The reply to one request.

    Attributes:
        reply: what to send; None parks the session until the draw, or, with an `error`, has it closed.
        error: why it was refused; empty where it was not.
    """

    reply: Ack | Winners | Probe | None
    error: str = ""

    @property
    def waits(self) -> bool:
        """Whether there is no reply before the draw."""
        return self.reply is None and not self.error


@attrs.frozen(kw_only=True)
class Work:
    """The requests of one session, in order; and its peer, for the log."""

    session: int
    peer: str
    requests: tuple[Request, ...]


@attrs.frozen(kw_only=True)
class GroupOutcome:
    """The answers to a group: for each `Work`, its session and one answer a request; and whether it made the draw."""

    answers: tuple[tuple[int, tuple[Answer, ...]], ...]
    drawn_now: bool


def random_number() -> int:
    """A winning number that nobody can foresee."""
    return secrets.randbelow(limits.MAX_BETTING_NUMBER + 1)


def answer_without_store(request: Request) -> Answer | None:
    """The answer to a request that needs no store and so no worker; None for the others."""
    match request:
        case InvalidFrame(error=error):
            return Answer(reply=Ack(count=0), error=error.summary)
        case Probe():
            return Answer(reply=request)
        case _:
            return None


class Handlers:
    """Answers requests from a store.

    Args:
        store: where the bets are.
        agencies: how many must ask before the draw.
        pick: gives the winning number when the draw takes place.

    Attributes:
        agencies: as given.

    Thread: any, one at a time.
    """

    def __init__(self, store: BetStore, *, agencies: int, pick: Callable[[], int]) -> None:
        self._store = store
        self.agencies = agencies
        self._pick = pick
        self._drawn_now = False

    def answer_group(self, group: Sequence[Work]) -> GroupOutcome:
        """The answers to `group`; what they say is on disk when this returns.

        Raises:
            StorageError: what is on disk is unknown: nobody may be answered.
        """
        self._drawn_now = False
        batches = [request for work in group for request in work.requests if isinstance(request, EncodedBatch)]
        stored = iter(self._store_batches(batches))
        answers = tuple(
            (work.session, tuple(self._answer(request, stored) for request in work.requests)) for work in group
        )
        return GroupOutcome(answers=answers, drawn_now=self._drawn_now)

    def expects(self, agency: int) -> bool:
        """Whether the draw waits for `agency`."""
        return 1 <= agency <= self.agencies

    def _answer(self, request: Request, stored: Iterator[Answer]) -> Answer:
        answer = answer_without_store(request)
        if answer is not None:
            return answer
        return self._winners(request.agency) if isinstance(request, WinnersRequest) else next(stored)

    def _store_batches(self, batches: Sequence[EncodedBatch]) -> list[Answer]:
        if not batches:
            return []
        try:
            verdicts = self._store.append([batch.lots for batch in batches])
        except StoreFull:
            return [Answer(reply=Ack(count=0), error=_STORE_FULL) for _ in batches]
        return [
            Answer(reply=Ack(count=batch.count))
            if verdict is Verdict.STORED
            else Answer(reply=Ack(count=0), error=_REFUSALS[verdict])
            for batch, verdict in zip(batches, verdicts, strict=True)
        ]

    def _winners(self, agency: int) -> Answer:
        documents = self._store.winners(agency)
        if documents is None:
            try:
                outcome = self._store.seal_and_draw(agency, expected=self.agencies, pick=self._pick)
            except StoreFull:
                return Answer(reply=None, error=_STORE_FULL)
            self._drawn_now = self._drawn_now or outcome.drawn_now
            if not outcome.drawn:
                return Answer(reply=None)
            documents = self._store.winners(agency) or ()
        if len(documents) > limits.MAX_WINNERS:
            return Answer(reply=None, error=f"{len(documents)} winners, a reply holds {limits.MAX_WINNERS}")
        return Answer(reply=Winners(documents=documents))
