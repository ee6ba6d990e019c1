"""The upload of one agency's bets over one connection after the other, on revisions 5 to 8.

`_in_flight` is the queue of batches without an answer, refilled from the source up to the window: 16 batches on
revision 8, one message on older revisions, where each has a connection of its own. These revisions are *at least once*:
what was in flight on a lost connection is sent again, and the user is told how many bets were sent twice.

A refusal (Ack 0) is final: nothing more is sent, the answers to what has left already are awaited, and the client never
asks for the winners.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bets_protocol.client.delivery import Delivery
from bets_protocol.client.driver import Steps
from bets_protocol.client.events import BatchRefused, BetsStored, Resending
from bets_protocol.client.link import Answer, Link
from bets_protocol.client.numbered_batch import NumberedBatch, describe_rows
from bets_protocol.client.options import ClientOptions
from bets_protocol.errors import BetsError, BetsRefused, TransportError
from bets_protocol.messages import Ack

DRAIN_S = 10.0
"""Seconds for the answers that are still due after a refusal."""


class AtLeastOnce(Delivery):
    """The bets of one agency on their way to the server.

    Args:
        agency: the agency of the bets.
        queue: the batches to send, read only as far as the window needs.
        total: how many bets they have.

    Attributes:
        stored: bets that the server acknowledged.
        sent_twice: bets that were sent again after a lost connection; the server may have stored them twice.

    Thread: one.
    """

    def __init__(self, options: ClientOptions, agency: int, queue: Iterator[NumberedBatch], total: int) -> None:
        super().__init__(options, agency)
        self.total = total
        self.stored = 0
        self.sent_twice = 0
        self._window = options.window if options.persistent else 1
        self._queue = queue
        self._next: NumberedBatch | None = None  # read from the queue and not yet sent
        self._again: deque[NumberedBatch] = deque()  # sent on a connection that was lost
        self._in_flight: deque[NumberedBatch] = deque()
        self._refused: list[NumberedBatch] = []
        self._source_error: BetsError | None = None

    def _finished(self) -> bool:
        """Whether all is answered.

        Raises:
            BetsRefused: the server refused a batch.
            BetsError: a row is bad that was good before; the rows before it are sent and answered.
        """
        if self._in_flight:
            return False
        if self._refused:
            raise BetsRefused(f"{self._options.url}: the server refuses bets")
        if self._more():
            return False
        if self._source_error is not None:
            raise self._source_error
        return True

    def _more(self) -> bool:
        """Whether there is a batch to send. It reads one ahead, so that no connection is made for nothing."""
        if not self._again and self._next is None and self._source_error is None:
            try:
                self._next = next(self._queue, None)
            except BetsError as error:
                self._source_error = error
        return bool(self._again) or self._next is not None

    def _take_next(self) -> NumberedBatch | None:
        if not self._more():
            return None
        if self._again:
            return self._again.popleft()
        batch, self._next = self._next, None
        return batch

    def _send_next(self, link: Link) -> bool:
        if self._refused or len(self._in_flight) >= self._window:
            return False
        batch = self._take_next()
        if batch is None:
            return False
        self._in_flight.append(batch)
        link.queue(batch.message)
        return True

    def _heard(self, link: Link, answers: list[Answer]) -> None:
        for ack in [answer for answer in answers if isinstance(answer, Ack)]:
            self._answered(link, ack.count)

    def _awaiting(self) -> bool:
        return bool(self._in_flight)

    def _answered(self, link: Link, count: int) -> None:
        """Handle the answer to the oldest batch in flight: stored (its `count`) or refused (0)."""
        batch = self._in_flight.popleft()
        if count:
            self.stored += batch.count
            self._patience.renew()
            self._dialer.progressed()
            self._options.on_event(BetsStored(self.agency, batch.count))
        else:
            self._refused.append(batch)
            self._options.on_event(BatchRefused(self.agency, batch.count, describe_rows([batch])))
            for _ in range(link.drop_unsent()):
                self._in_flight.pop()
        if not self._options.persistent:
            self._dialer.close(link)
            self._link = None

    def _lost(self, link: Link, error: TransportError) -> Steps[None]:
        """Keep the unanswered batches of the lost link and pause before the next attempt, except after a refusal.

        Raises:
            GaveUp: the retry deadline passed.
        """
        self._link = None
        unsent = link.drop_unsent()
        # Nobody knows what became of the batches that have left, so they are sent again, in order.
        left = list(self._in_flight)[: len(self._in_flight) - unsent]
        bets = sum(batch.count for batch in left)
        self._dialer.lost(link, error, unanswered=bets)
        self._again.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        if self._refused:
            return
        yield from self._dialer.rest()
        self.sent_twice += bets
        self._options.on_event(Resending(self.agency, bets))

    @property
    def _silence_limit_s(self) -> float:
        limit_s = super()._silence_limit_s
        return min(limit_s, DRAIN_S) if self._refused else limit_s

    def state(self) -> str:
        unknown = [*self._in_flight, *self._again]
        refused_bets, unknown_bets = (sum(batch.count for batch in some) for some in (self._refused, unknown))
        parts = [f"agency {self.agency}: {self.stored:,} of {self.total:,} bets are stored"]
        if self._refused:
            parts.append(f"{refused_bets:,} refused ({describe_rows(self._refused)})")
        if unknown:
            parts.append(f"{unknown_bets:,} without an answer, so perhaps stored ({describe_rows(unknown)})")
        if unsent := self.total - self.stored - refused_bets - unknown_bets:
            parts.append(f"{unsent:,} not sent")
        if self.sent_twice:
            parts.append(f"{self.sent_twice:,} sent again after a lost connection, so perhaps stored twice")
        return "; ".join(parts)
