"""One peer, seen from the server: its stream, its side of the protocol, and what is due to it.

Nothing in here selects, waits or reads a clock: the reactor says when bytes may move and what time it is, and hands out
requests and answers. The rules that a session keeps are those of back-pressure: it is not read while it owes too much
or holds enough, and what it holds is not answered while it owes too much; so a peer that sends without end or never
reads only fills its own buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    BetBatch,
    EncodedBatch,
    OpenUpload,
    Probe,
    RejectCode,
    RemoteProtocolError,
    ServerConnection,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.transports import Stream
from bets_server.intake.identity import Holder
from bets_server.intake.requests import Answer, Binding, Park, Reply, Request, Work
from bets_server.limits import Limits
from bets_server.reactor.inbox import READ_AHEAD_BYTES, Inbox
from bets_server.reactor.outbox import Outbox, SharedAnswers
from bets_server.reactor.phases import NEXT, Event, Phase
from bets_server.reactor.timers import NEVER, Deadline, Due, Timers

OUTBOX_BYTES = 65_536
"""Bytes of answers that a peer may leave unread before its next request is left unanswered, and then unread, too."""

UNIT_REQUESTS = 32
"""Requests of one session in one group: more than a usual window, so that pipelined batches share a flush to disk."""


class Session:
    """The server's side of one connection.

    Args:
        number: names it inside this process.
        stream: to the peer.
        revision: as for `ServerConnection`.
        opened_at: when it was accepted.
        shared: where long answers are kept once for all; None: it keeps its own.

    Attributes:
        holder: whom the peer's certificate speaks for; None: it was asked for none.
        phase: what it is in the middle of; only `Session` itself moves it, by the table of `phases`.
        waiting: the request for winners that waits for the draw, or None.
        inbox: what the peer sends, before it is messages.
        agency: whose bets come from here: that of the peer's certificate; where it was asked for none, the one that it
            names.
        binding: its upload as it stood after the last answer; None: there is none.
        revoked: why it is let go as soon as it has the answers to its work; empty: it is not.
        resuming: it has opened an upload of which something is stored and something is not, and not gone on with it.
        due: its entry in `Deadlines`.
    """

    __slots__ = (
        "_exhausted",
        "_shared",
        "agency",
        "binding",
        "connection",
        "due",
        "holder",
        "in_work",
        "inbox",
        "number",
        "outbox",
        "phase",
        "refused",
        "resuming",
        "revoked",
        "stream",
        "timers",
        "waiting",
    )

    def __init__(
        self,
        number: int,
        stream: Stream,
        *,
        revision: int,
        opened_at: float = 0.0,
        shared: SharedAnswers | None = None,
    ) -> None:
        self.number = number
        self.stream = stream
        self.connection = ServerConnection(revision=revision, encoded=True)
        self.outbox = Outbox()
        self.phase = Phase.SHAKING if stream.handshaking else Phase.OPEN
        self.due = Due()
        self.inbox = Inbox()
        self.holder: Holder | None = None
        self.waiting: WinnersRequest | None = None
        self.agency: int | None = None
        self.binding: Binding | None = None
        self.resuming = False
        self.revoked = ""
        self.in_work: tuple[Request, ...] = ()
        self.refused: RemoteProtocolError | None = None
        self._shared = shared or SharedAnswers()
        self._exhausted = False  # the protocol gives nothing more
        self.timers = Timers(opened_at)

    def _move(self, event: Event) -> None:
        self.phase = NEXT[self.phase, event]

    def end_handshake(self, holder: Holder | None) -> None:
        """The handshake is done; a peer that has shown a certificate speaks for its holder, whatever it says."""
        self._move(Event.SHAKEN)
        if holder is not None:
            self.holder, self.agency = holder, holder.agency

    def revoke(self, reason: str) -> None:
        """The peer is let go for this reason; empty: it is not."""
        self.revoked = reason

    def wait_for_handshake(self) -> None:
        """Leaves the peer unread until there is a place for its handshake."""
        self._move(Event.NO_PLACE)

    def begin_handshake(self, now: float) -> None:
        """There is a place for the handshake of the peer."""
        self._move(Event.PLACE)
        self.timers.shaking_since = now

    @property
    def shaking_since(self) -> float:
        """When the handshake began; when the session was accepted, until then."""
        return self.timers.shaking_since

    @property
    def made_to_wait(self) -> bool:
        """Whether nothing is read of the peer nor said to it for a while."""
        return self.timers.held_until != NEVER

    def make_wait(self, until: float) -> None:
        """Leaves the peer alone for a while: what is due to it stays here, and what it has sent stays unread."""
        self.timers.held_until = until

    def end_wait(self) -> None:
        """Goes on with the peer."""
        self.timers.held_until = NEVER

    @property
    def held(self) -> bool:
        """Whether the peer is left unread for now: its handshake has no place, or it was made to wait."""
        return self.phase is Phase.QUEUED or self.made_to_wait

    @property
    def busy(self) -> bool:
        """Whether a unit of its requests is in work."""
        return self.phase is Phase.WORKING

    @property
    def closing(self) -> bool:
        """Whether no requests are taken any more: the session is closed once the last answer has left."""
        return self.phase >= Phase.ENDING

    @property
    def lingering(self) -> bool:
        """Whether the peer may still be sending behind its last answer."""
        return self.phase >= Phase.LINGERING

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side."""
        return self.inbox.ended

    @property
    def wants_read(self) -> bool:
        """Whether bytes of the peer are welcome."""
        if self.phase is Phase.QUEUED or self.made_to_wait:
            return False
        if self.phase >= Phase.ENDING:
            return self.lingering and self.inbox.has_room_behind_the_end
        return not (self.inbox.ended or self.connection.buffered >= READ_AHEAD_BYTES or self.choked)

    @property
    def wants_write(self) -> bool:
        """Whether something is due to the peer now."""
        return self.outbox.size > 0 and not self.made_to_wait

    @property
    def has_said_all(self) -> bool:
        """Whether every answer has left, for the system to deliver."""
        return not (self.outbox.size or self.stream.needs_write)

    @property
    def choked(self) -> bool:
        """Whether the peer leaves so many answers unread that it gets no more for now."""
        return self.outbox.size >= OUTBOX_BYTES

    def read(self) -> None:
        """Takes what has come in, as far as there is room.

        Raises:
            ReadError: the connection broke.
        """
        self.inbox.read(self.stream, self.connection)

    def throw_away(self) -> None:
        """Takes what the peer still sends after its last answer, up to a bound, and forgets it.

        Raises:
            ReadError: the connection broke.
        """
        self.inbox.throw_away(self.stream)

    def next_work(self) -> Work | None:
        """The next unit of requests, or None where there is none or one is in work.

        Once the peer has nothing more to say and everything is answered, the session ends.
        """
        if self.phase is not Phase.OPEN or self.choked or self.made_to_wait:
            return None
        requests = self._next_requests()
        if not requests:
            self._close_if_done()
            return None
        return self._work(*requests)

    def _work(self, *requests: Request) -> Work:
        self._move(Event.WORK)
        self.in_work = requests
        return Work(
            session=self.number, peer=self.stream.peer, requests=requests, binding=self.binding, holder=self.holder
        )

    def _next_requests(self) -> list[Request]:
        requests: list[Request] = []
        while len(requests) < UNIT_REQUESTS:
            try:
                event = self.connection.next_event()
            except RemoteProtocolError as error:
                self.refused = error
                break
            if event is CLOSED:
                self._exhausted = True
                break
            if event is NEED_DATA:
                break
            if isinstance(event, BetBatch) or not isinstance(event, Request):  # pragma: no cover - not asked for
                raise TypeError(f"an encoded connection gave a {type(event).__name__}")
            requests.append(event)
            self.timers.answered += 1
            if isinstance(event, WinnersRequest | OpenUpload):
                self._says_it_is(event.agency)
                break  # what may follow depends on the answer
            if isinstance(event, EncodedBatch):
                self._says_it_is(event.runs[0].agency)
        return requests

    def _says_it_is(self, agency: int) -> None:
        if self.holder is None:  # else what it says is held against what it has proved, and counts for nothing here
            self.agency = agency

    def _close_if_done(self) -> None:
        if self.connection.finished:  # the last word is said, also where what came behind it breaks the protocol
            self._move(Event.LAST_WORD)
        elif self.refused is not None:
            self.outbox.append(self.connection.refuse())
            self._move(Event.LAST_WORD)
        elif self._exhausted:
            self._move(Event.END)

    def take_answers(self, answers: Sequence[Answer]) -> None:
        """Puts the replies to the unit in work into the outbox; parks or closes where an answer says so."""
        self.timers.answered += 1
        event = Event.ANSWERED
        for request, answer in zip(self.in_work, answers, strict=False):  # fewer where one of them ends the upload
            self.binding = answer.binding or self.binding
            at = self.binding
            total = request.total if isinstance(request, OpenUpload) else 0
            self.resuming = at is not None and 0 < at.stored < total
            match answer:
                case Reply(reply=reply, more=more):
                    self._send(reply, *more)
                case Park(reply=reply) if isinstance(request, WinnersRequest):
                    self.waiting, event = request, Event.PARK
                    if reply is not None:
                        self._send(reply)
                case _:
                    event = Event.END
        self.in_work = ()
        self._move(event)

    def _send(self, *replies: Ack | Probe | UploadStatus | Winners) -> None:
        for reply in replies:
            self.outbox.append(self._shared.of(self.connection.send(reply)))

    def end_upload(self, code: RejectCode) -> None:
        """Tells the peer that its upload is over on this connection, and reads nothing more of it."""
        if self.binding is not None and not self.connection.finished:
            self.outbox.append(self.connection.send(self.binding.status(code)))
        self.waiting = None
        self._move(Event.LAST_WORD)

    def let_go(self) -> None:
        """Ends the session because the server stops, once everything that was read of it is answered.

        Raises:
            ReadError: the connection broke.
        """
        if self.busy or self.closing or self.choked:
            return
        if self.binding is not None:
            self.end_upload(RejectCode.SHUTTING_DOWN)
            return
        # Closing with bytes unread makes a reset, which could overtake the last answers; without any, close at once.
        self.throw_away()
        self.waiting = None
        self._move(Event.LAST_WORD if self.inbox.drained_bytes else Event.END)

    def half_close(self, linger_until: float) -> None:
        """Tells the peer that nothing more comes, and gives it some time to end its side.

        Raises:
            WriteError: the connection broke.
        """
        self.timers.linger_until = linger_until
        self._move(Event.HALF_CLOSE)
        self.stream.close_writing()

    def take_refused(self) -> RemoteProtocolError | None:
        """How the peer broke the protocol, once its refusal is due; given once, for the log."""
        if self.refused is None or not self.closing:
            return None
        refused, self.refused = self.refused, None
        return refused

    def beat(self) -> None:
        """Tells a peer that waits for the draw that the server is still there, where it understands that."""
        if self.waiting is not None and self.binding is not None and not self.outbox:
            self.outbox.append(self.connection.send(self.binding.status(RejectCode.OK)))

    def ask_again(self) -> Work | None:
        """The request that waits for the draw, as a new unit."""
        if self.waiting is None:
            return None
        request, self.waiting = self.waiting, None
        return self._work(request)

    def flush(self) -> None:
        """Sends what the stream takes of the outbox, unless the peer is made to wait for it.

        Raises:
            WriteError: the connection broke.
        """
        for part in () if self.made_to_wait else self.outbox.parts():
            sent = self.stream.send(part)
            if not sent:
                return
            self.timers.taken += sent
            self.outbox.taken(sent)
        if self.stream.needs_write:
            self.stream.send(b"")  # what the stream itself has taken and not got rid of

    def note(self, now: float, limits: Limits) -> Deadline:
        """Notes what the peer is doing now; gives until when it may go on so."""
        owes = not self.has_said_all
        self.timers.note(now, limits, buffered=self.connection.buffered, owes=owes)
        return self.timers.deadline(self.phase, limits, owes=owes, resuming=self.resuming)

    def deadline(self, limits: Limits) -> Deadline:
        """Until when the peer may go on as it does."""
        return self.timers.deadline(self.phase, limits, owes=not self.has_said_all, resuming=self.resuming)
