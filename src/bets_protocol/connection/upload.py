"""One upload of revision 9, without sockets: what to send next, and what an answer means.

The machine knows the bets of the upload, how many of them the server has stored, and which are on their way. It has no
socket, no clock and no thread: its driver (a loop over a socket, a simulation) reports connections and answers, asks
for the next message, and waits.

1. `turns.CLIENT_ACTIONS` says what a code asks for, `_STEPS` what to do in which phase. A code that a phase does not
   have is a breach of the protocol.
2. `stored` is what the server last said, and nothing else.
3. An upload never goes on with other rows than those that it began with: each opening compares the CRC-32 of the rows
   that are skipped. `ClientConnection` compares that of the rows sent since.
4. After FENCED, and every other code that stops, nothing more is sent.

Memory: the batches on their way, at most the window, and up to `MOST_WINNERS` documents, as one text for each list (9
bytes a document) until the last list has come.

Thread: one.
Source: "Exactly-once uploads" in docs/protocol.md.
"""

from __future__ import annotations

import enum
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from bets_protocol.connection.turns import CLIENT_ACTIONS, ClientAction
from bets_protocol.errors import RejectCode, SequenceError, SourceChanged, UploadRefused
from bets_protocol.limits import MAX_WINNERS
from bets_protocol.messages import BetRun, OpenUpload, UploadStatus, Winners, WinnersRequest

ASK_AGAIN_S: Final = 2.0
"""Seconds from INCOMPLETE to the next request for winners, on the same connection."""

FIRST_ANSWER_S: Final = 10.0
"""Seconds of silence at an opening after which the connection counts as lost."""

HEARTBEAT_LIMIT_S = 90.0
"""Seconds of silence before the draw after which the connection counts as lost: three missing signs of life."""

MOST_WINNERS: Final = 16 * MAX_WINNERS
"""Documents in all lists of an answer: sixteen full ones, 1,048,560. The protocol has no such bound. But one number of
10,000 wins, so that many winners would need some ten thousand million bets, and a server that sends lists without end
must not fill the memory."""


class UnexpectedAnswer(SequenceError):
    """An answer that does not fit what the upload has sent, or what is stored."""


class BatchSource(Protocol):
    """The bets of an upload, which can be read again from any row."""

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        """The CRC-32 over the encoded bets 0 to `row` - 1, and the bets from `row` on, in batches.

        The iterator of an earlier call is no longer used.

        Raises:
            SourceChanged: there are fewer rows. The iterator may raise it at any batch, and any other error if the
                bets cannot be read.
        """
        ...


class _Phase(enum.Enum):
    OFFLINE = enum.auto()  # no connection
    CONNECTED = enum.auto()  # OpenUpload is to be sent
    OPENING = enum.auto()  # its answer is due
    SENDING = enum.auto()  # batches go, or all are stored
    ASKING = enum.auto()  # WinnersRequest is sent, its first answer is due
    WAITING = enum.auto()  # sealed; signs of life come until the draw
    ASK_LATER = enum.auto()  # WinnersRequest was answered with INCOMPLETE
    DRAWN = enum.auto()  # Winners is due
    BROKEN_OFF = enum.auto()  # nothing more is said on this connection, another one is to be made
    ENDED = enum.auto()  # nothing more is ever said


class Upload:
    """One upload on its way to the server, over one connection after the other.

    Args:
        agency: the agency of the bets, 1 to 255.
        draw: the draw's id.
        total: how many bets the upload has, at least 1.
        upload_id: its 16 bytes.
        source: the bets.
        window: how many batches may be on their way.
        ask: whether to ask for the winners when all bets are stored.

    Attributes:
        stored: how many bets are on the server's disk, as it last said; 0 before it has opened the upload.
        already_stored: how many were there at the first opening.
        told: how many bets the server last said are stored, also in a refusal; None before its first answer.
        opened_once: whether the server has ever opened the upload; before that `stored` means nothing.
        winners: the documents of the agency's winners; None until all of them have come.
        reconnect_for: the code that asks for another connection, or None.
    """

    def __init__(
        self,
        *,
        agency: int,
        draw: int,
        total: int,
        upload_id: bytes,
        source: BatchSource,
        window: int = 16,
        ask: bool = True,
    ) -> None:
        self.agency = agency
        self.draw = draw
        self.total = total
        self.upload_id = upload_id
        self.stored = 0
        self.already_stored = 0
        self.told: int | None = None
        self.opened_once = False
        self.winners: tuple[str, ...] | None = None
        self.reconnect_for: RejectCode | None = None
        self._source = source
        self._window = window
        self._ask = ask
        self._phase = _Phase.OFFLINE
        self._crc32 = 0  # over the stored bets
        self._batches: Iterator[BetRun] | None = None  # those behind `_read`
        self._read = 0  # rows that are stored, in flight or to be sent again
        self._in_flight: deque[BetRun] = deque()
        self._again: deque[BetRun] = deque()  # were in flight on a connection that was lost
        self._lists: list[str] = []  # of winners, the documents of each joined by spaces
        self._named = 0  # documents in them

    @property
    def crc32(self) -> int:
        """The CRC-32 over the stored bets, as they were sent."""
        return self._crc32

    @property
    def answered_once(self) -> bool:
        """Whether the server has ever answered on revision 9."""
        return self.told is not None

    @property
    def sent_now(self) -> int:
        """How many bets this machine has added."""
        return self.stored - self.already_stored

    @property
    def uploaded(self) -> bool:
        """Whether all bets are stored, as far as the server has said."""
        return self.opened_once and self.stored == self.total

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.uploaded and (not self._ask or self.winners is not None)

    @property
    def awaiting(self) -> bool:
        """Whether an answer of the server is due, or a sign of life before the draw."""
        return self._phase in _AWAITING or (self._phase is _Phase.SENDING and bool(self._in_flight))

    @property
    def opening(self) -> bool:
        """Whether the answer to OpenUpload is due."""
        return self._phase is _Phase.OPENING

    @property
    def sealed(self) -> bool:
        """Whether the server has said, on this connection, that it waits for the draw."""
        return self._phase is _Phase.WAITING

    @property
    def ask_again_due(self) -> bool:
        """Whether the driver has to call `ask_again` after `ASK_AGAIN_S`, on the same connection."""
        return self._phase is _Phase.ASK_LATER

    @property
    def unanswered(self) -> int:
        """How many bets are on their way, so that it is not known whether they are stored."""
        return sum(batch.count for some in (self._in_flight, self._again) for batch in some)

    def connected(self) -> None:
        """Report a new connection, on which nothing was sent yet."""
        self.lost()
        self.reconnect_for = None
        self._go_to(_Phase.CONNECTED)

    def lost(self) -> None:
        """Report that the connection is lost, with all answers that were due. Calling it again has no effect."""
        # The batches on their way are kept: they need not be read again if the next opening goes on among them.
        self._in_flight.extend(self._again)
        self._in_flight, self._again = deque(), self._in_flight
        self._forget_lists()
        self._go_to(_Phase.OFFLINE)

    def ask_again(self) -> None:
        """Report that the pause after INCOMPLETE is over."""
        if self.ask_again_due:
            self._go_to(_Phase.SENDING)

    def next_message(self) -> OpenUpload | BetRun | WinnersRequest | None:
        """The message to send now, or None if there is none before the next answer.

        Raises:
            SourceChanged: the source has other bets than before; so may any other error of it. Nothing more is sent.
        """
        match self._phase:
            case _Phase.CONNECTED:
                self._go_to(_Phase.OPENING)
                return OpenUpload(agency=self.agency, draw=self.draw, total=self.total, upload_id=self.upload_id)
            case _Phase.SENDING if self.stored < self.total:
                return self._next_batch()
            case _Phase.SENDING if self._ask and self.winners is None:
                self._go_to(_Phase.ASKING)
                return WinnersRequest(agency=self.agency)
            case _:
                return None

    def answered(self, event: UploadStatus | Winners) -> None:
        """Handle an answer, which `ClientConnection` has checked as far as one connection goes.

        If `reconnect_for` is set afterwards: pause, make another connection, and call `connected`.

        Raises:
            UploadRefused: the server refused for good.
            SourceChanged: the stored rows are not those of the source, which may also raise an error of its own.
            UnexpectedAnswer: the answer came at the wrong time.
        """
        try:
            if isinstance(event, Winners):
                self._winners_came(event)
            else:
                self._status_came(event)
        except Exception:  # also one of the source
            self._go_to(_Phase.ENDED)
            raise

    def _go_to(self, phase: _Phase) -> None:
        if self._phase is not _Phase.ENDED:
            self._phase = phase

    def _next_batch(self) -> BetRun | None:
        if len(self._in_flight) >= self._window:
            return None
        if self._again:
            batch = self._again.popleft()
        elif self._read < self.total:
            try:
                batch = self._read_batch()
            except Exception:  # also one of the source
                self._go_to(_Phase.ENDED)
                raise
        else:
            return None
        self._in_flight.append(batch)
        return batch

    def _read_batch(self) -> BetRun:
        if self._batches is None:
            _, self._batches = self._source.resume(self._read)
        batch = next(self._batches, None)
        if batch is None:
            raise SourceChanged(f"the input has changed: it ends after {self._read:,} bets, {self.total:,} were there")
        if self._read + batch.count > self.total:
            raise SourceChanged(f"the input has changed: it has more than the {self.total:,} bets that were there")
        self._read += batch.count
        return batch

    def _status_came(self, status: UploadStatus) -> None:
        self.told = status.stored
        code = status.reason
        step = _STEPS.get((self._phase, CLIENT_ACTIONS[code]))
        if step is None:
            raise UnexpectedAnswer(f"unexpected {code.name} from the server")
        step(self, status)

    def _opened(self, status: UploadStatus) -> None:
        """Find the row to go on with, and compare the rows before it."""
        if status.stored > self.total:
            raise UnexpectedAnswer(f"the server says that {status.stored:,} bets are stored, of {self.total:,}")
        # Drop the kept batches that turn out to be stored. If the row is not at the end of one, read the source again.
        row, crc32 = self.stored, self._crc32
        while self._again and row < status.stored:
            batch = self._again.popleft()
            row, crc32 = row + batch.count, zlib.crc32(batch.encoded, crc32)
        if row != status.stored:
            self._again.clear()
            self._batches = None
            crc32, self._batches = self._source.resume(status.stored)
            self._read = status.stored
        if crc32 != status.crc32:
            raise SourceChanged(
                f"the input has changed since the upload began: its first {status.stored:,} bets are not those that "
                "the server has stored",
                stored=status.stored,
            )
        if not self.opened_once:
            self.already_stored = status.stored
        self.opened_once = True
        self.already_stored = min(self.already_stored, status.stored)
        self.stored, self._crc32 = status.stored, crc32
        self._go_to(_Phase.SENDING)

    def _batch_stored(self, status: UploadStatus) -> None:
        if not self._in_flight:
            raise UnexpectedAnswer("the server answers a batch that nobody has sent")
        expected = self.stored + self._in_flight[0].count
        if status.stored != expected:
            raise UnexpectedAnswer(f"the server says that {status.stored:,} bets are stored where {expected:,} can be")
        self._in_flight.popleft()
        self.stored, self._crc32 = status.stored, status.crc32

    def _sealed(self, _: UploadStatus) -> None:
        self._go_to(_Phase.WAITING)

    def _incomplete(self, _: UploadStatus) -> None:
        self._go_to(_Phase.ASK_LATER)

    def _drawn(self, _: UploadStatus) -> None:
        self._go_to(_Phase.DRAWN)

    def _winners_came(self, winners: Winners) -> None:
        if self._phase is not _Phase.DRAWN:
            raise UnexpectedAnswer("the server names winners that nobody has asked for")
        self._named += len(winners.documents)
        if self._named > MOST_WINNERS:
            raise UnexpectedAnswer(
                f"the server has named {self._named:,} winners of agency {self.agency} so far; this client takes at "
                f"most {MOST_WINNERS:,}"
            )
        self._lists.append(" ".join(winners.documents))
        if len(winners.documents) < MAX_WINNERS:  # a full list means that another follows
            self.winners = tuple(" ".join(self._lists).split())
            self._forget_lists()
            self._go_to(_Phase.SENDING)

    def _forget_lists(self) -> None:
        self._lists, self._named = [], 0

    def _refused(self, status: UploadStatus) -> None:
        # Nothing behind a refusal is stored. Before the opening it is not known what became of earlier batches.
        if self._phase is not _Phase.OPENING:
            self._in_flight.clear()
            self._again.clear()
        raise UploadRefused(status.reason, stored=status.stored)

    def _reconnect(self, status: UploadStatus) -> None:
        self.lost()
        self._go_to(_Phase.BROKEN_OFF)
        self.reconnect_for = status.reason


_AWAITING = frozenset({_Phase.OPENING, _Phase.ASKING, _Phase.WAITING, _Phase.DRAWN})

_ANSWERABLE = (
    _Phase.OPENING,
    _Phase.SENDING,
    _Phase.ASKING,
    _Phase.WAITING,
    _Phase.ASK_LATER,
)
"""The phases in which a status may come, also unasked. Not in `DRAWN`, where a Winners must follow."""

_STEPS: Final[dict[tuple[_Phase, ClientAction], Callable[[Upload, UploadStatus], None]]] = {
    (_Phase.OPENING, ClientAction.GO_ON): Upload._opened,
    (_Phase.SENDING, ClientAction.GO_ON): Upload._batch_stored,
    (_Phase.ASKING, ClientAction.GO_ON): Upload._sealed,
    (_Phase.WAITING, ClientAction.GO_ON): Upload._sealed,
    (_Phase.ASKING, ClientAction.ASK_LATER): Upload._incomplete,
    (_Phase.WAITING, ClientAction.ASK_LATER): Upload._incomplete,
    (_Phase.ASKING, ClientAction.WINNERS_FOLLOW): Upload._drawn,
    (_Phase.WAITING, ClientAction.WINNERS_FOLLOW): Upload._drawn,
    **{(phase, ClientAction.STOP): Upload._refused for phase in _ANSWERABLE},
    **{(phase, ClientAction.RECONNECT): Upload._reconnect for phase in _ANSWERABLE},
}
