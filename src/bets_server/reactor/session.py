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
from bets_server.health import is_health_check
from bets_server.intake.identity import Holder
from bets_server.intake.requests import Answer, Binding, Park, Reply, Request, Work
from bets_server.limits import Limits
from bets_server.reactor.outbox import Outbox, SharedAnswers

_NEVER = float("inf")

READ_AHEAD_BYTES = 65_536
"""Bytes of a peer that are held before they are answered: eight of the largest frames."""

OUTBOX_BYTES = 65_536
"""Bytes of answers that a peer may leave unread before its next request is left unanswered, and then unread, too."""

HEAD_BYTES = 16
"""Of a connection, which show what speaks another protocol."""

_RECEIVES_A_READ = 64
"""An encrypted peer may send its bytes one by one: each costs a call, and the others are waiting."""

LINGER_BYTES = 65_536
"""Bytes that are still read of a peer after its last answer, as docs/protocol.md says. What comes behind them is left
to the system until the time is over."""

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
        held: the peer is left unread for now: its handshake has no place, or it was `made_to_wait`.
        held_until: when that ends; infinity: once there is a place.
        busy: a unit of its requests is in work.
        waiting: the request for winners that waits for the draw, or None.
        closing: nothing more is read; closed once `outbox` is empty.
        lingering: `closing`, and the peer may still be sending: its bytes are thrown away until it ends.
        half_closed: `lingering`, and the peer was told that nothing more comes from here.
        ended: the peer has ended its side.
        head: the first bytes that came, as far as they came in one piece; for the log.
        is_new: nothing was read yet.
        unheard: nothing that it has said was read yet: it may still be shaking hands.
        is_health_check: the first that it has said is the question of `bets-server health`.
        cut_short: the last `read` ended too early, so there may be bytes that no selector knows of.
        agency: whose bets come from here: that of the peer's certificate; where it was asked for none, the one that it
            names.
        binding: its upload as it stood after the last answer; None: there is none.
        revoked: why it is let go as soon as it has the answers to its work; empty: it is not.
        resuming: it has opened an upload of which something is stored and something is not, and not gone on with it.
        shaking_since: when the handshake began; when it was accepted, until then.
        due_at, looked_at_by: belong to `Deadlines`.
    """

    __slots__ = (
        "_answered",
        "_exhausted",
        "_noted",
        "_shared",
        "_taken",
        "_taken_noted",
        "agency",
        "binding",
        "busy",
        "closing",
        "connection",
        "cut_short",
        "drain_until",
        "drained_bytes",
        "due_at",
        "ended",
        "frame_since",
        "half_closed",
        "head",
        "held",
        "held_until",
        "holder",
        "in_work",
        "is_health_check",
        "is_new",
        "linger_until",
        "lingering",
        "looked_at_by",
        "number",
        "opened_at",
        "outbox",
        "quiet_since",
        "refused",
        "resuming",
        "revoked",
        "shaking_since",
        "stream",
        "unheard",
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
        self.head = b""
        self.holder: Holder | None = None
        self.held = False
        self.busy = False
        self.waiting: WinnersRequest | None = None
        self.agency: int | None = None
        self.binding: Binding | None = None
        self.closing = False
        self.lingering = False
        self.half_closed = False
        self.ended = False
        self.cut_short = False
        self.is_new = self.unheard = True
        self.is_health_check = False
        self.resuming = False
        self.revoked = ""
        self.drained_bytes = 0
        self.in_work: tuple[Request, ...] = ()
        self.refused: RemoteProtocolError | None = None
        self.opened_at = self.shaking_since = self.quiet_since = opened_at
        self.frame_since: float | None = None
        self.held_until = self.drain_until = self.linger_until = _NEVER
        self.due_at = self.looked_at_by = _NEVER
        self._shared = shared or SharedAnswers()
        self._exhausted = False  # the protocol gives nothing more
        self._answered = self._noted = 0  # messages taken and answered / as of the last `note`
        self._taken = self._taken_noted = 0  # bytes of answers that have left / likewise

    def identify(self, holder: Holder) -> None:
        """The peer has shown a certificate: it speaks for its holder, whatever it says."""
        self.holder = holder
        self.agency = holder.agency

    def wait_for_handshake(self) -> None:
        """Leaves the peer unread until there is a place for its handshake."""
        self.held = True

    def begin_handshake(self, now: float) -> None:
        """There is a place for the handshake of the peer."""
        self.held, self.shaking_since = False, now

    @property
    def made_to_wait(self) -> bool:
        """Whether nothing is read of the peer nor said to it until `held_until`."""
        return self.held and self.held_until != _NEVER

    def make_wait(self, until: float) -> None:
        """Leaves the peer alone for a while: what is due to it stays here, and what it has sent stays unread."""
        self.held, self.held_until = True, until

    def end_wait(self) -> None:
        """Goes on with the peer."""
        self.held, self.held_until = False, _NEVER

    @property
    def wants_read(self) -> bool:
        """Whether bytes of the peer are welcome."""
        if self.held:
            return False
        if self.closing:
            return self.lingering and not self.ended and self.drained_bytes <= LINGER_BYTES
        return not (self.ended or self.connection.buffered >= READ_AHEAD_BYTES or self.choked)

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
        self.cut_short = self.is_new = False
        begins = not self.head
        for _ in range(_RECEIVES_A_READ):
            if self.ended:
                return
            room = READ_AHEAD_BYTES - self.connection.buffered
            if room <= 0:
                self.cut_short = True
                return
            data = self.stream.receive(room)
            if data is None:
                return
            if begins:
                self.head, begins = data[:HEAD_BYTES], False
            self.connection.receive_data(data)
            self.ended = not data
            if self.unheard:
                self.unheard, self.is_health_check = False, is_health_check(data)
            if 0 < len(data) < room and not self.stream.hides_bytes:
                return  # another call would say that nothing is left
        self.cut_short = True

    def throw_away(self) -> None:
        """Takes what the peer still sends after its last answer, up to a bound, and forgets it.

        Raises:
            ReadError: the connection broke.
        """
        while not self.ended and self.drained_bytes <= LINGER_BYTES and (data := self.stream.receive()) is not None:
            self.drained_bytes += len(data)
            self.ended = not data

    def next_work(self) -> Work | None:
        """The next unit of requests, or None where there is none or one is in work.

        Once the peer has nothing more to say and everything is answered, it sets `closing`.
        """
        if self.busy or self.waiting is not None or self.closing or self.choked or self.held:
            return None
        requests = self._next_requests()
        if not requests:
            self._close_if_done()
            return None
        return self._work(*requests)

    def _work(self, *requests: Request) -> Work:
        self.busy = True
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
            self._answered += 1
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
            self.closing = self.lingering = True
        elif self.refused is not None:
            self.outbox.append(self.connection.refuse())
            self.closing = self.lingering = True
        elif self._exhausted:
            self.closing = True

    def take_answers(self, answers: Sequence[Answer]) -> None:
        """Puts the replies to the unit in work into the outbox; parks or closes where an answer says so."""
        self.busy = False
        self._answered += 1
        for request, answer in zip(self.in_work, answers, strict=False):  # fewer where one of them ends the upload
            self.binding = answer.binding or self.binding
            at = self.binding
            total = request.total if isinstance(request, OpenUpload) else 0
            self.resuming = at is not None and 0 < at.stored < total
            match answer:
                case Reply(reply=reply, more=more):
                    self._send(reply, *more)
                case Park(reply=reply) if isinstance(request, WinnersRequest):
                    self.waiting = request
                    if reply is not None:
                        self._send(reply)
                case _:
                    self.closing = True
        self.in_work = ()

    def _send(self, *replies: Ack | Probe | UploadStatus | Winners) -> None:
        for reply in replies:
            self.outbox.append(self._shared.of(self.connection.send(reply)))

    def end_upload(self, code: RejectCode) -> None:
        """Tells the peer that its upload is over on this connection, and reads nothing more of it."""
        if self.binding is not None and not self.connection.finished:
            self.outbox.append(self.connection.send(self.binding.status(code)))
        self.waiting = None
        self.closing = self.lingering = True

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
        self.closing = True
        self.throw_away()
        self.lingering = bool(self.drained_bytes)

    def half_close(self, linger_until: float) -> None:
        """Tells the peer that nothing more comes, and gives it some time to end its side.

        Raises:
            WriteError: the connection broke.
        """
        self.half_closed, self.linger_until = True, linger_until
        self.stream.close_writing()

    def take_refused(self) -> RemoteProtocolError | None:
        """How the peer broke the protocol, once its refusal is due; given once, for the log."""
        if not self.closing:
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
            self._taken += sent
            self.outbox.taken(sent)
        if self.stream.needs_write:
            self.stream.send(b"")  # what the stream itself has taken and not got rid of

    # -- how long it may go on so

    def note(self, now: float, limits: Limits) -> None:
        """Notes since when the peer has been quiet, in the middle of a message, or leaving its answers unread."""
        if self._answered != self._noted:
            self._noted, self.quiet_since = self._answered, now
            self.frame_since = now if self.connection.buffered else None
        elif not self.connection.buffered:
            self.frame_since = None
        elif self.frame_since is None:
            self.frame_since = now
        if self.has_said_all or self.made_to_wait:
            self.drain_until = _NEVER
        elif self.drain_until == _NEVER:
            self.drain_until = now + limits.drain_timeout_s
        else:
            more_s = (self._taken - self._taken_noted) / limits.min_rate
            self.drain_until = min(now + limits.drain_timeout_s, self.drain_until + more_s)
        self._taken_noted = self._taken

    def due(self, limits: Limits) -> tuple[float, str]:
        """Until when the peer may go on as it does, infinity: for ever; and what it is cut for then, empty: nothing."""
        if self.made_to_wait:
            return self.held_until, ""
        if self.stream.handshaking:
            if self.held:
                return self.opened_at + limits.first_message_timeout_s, "no room for its handshake in time"
            # Whoever had to wait for a place must still come to its first message in time.
            until = self.opened_at + limits.first_message_timeout_s
            return min(self.shaking_since + limits.handshake_timeout_s, until), "the handshake was not done in time"
        if not self.has_said_all:
            return self.drain_until, "it leaves its answers unread"
        if self.half_closed:
            return self.linger_until, ""
        if self.closing or self.busy or self.waiting is not None:
            return _NEVER, ""
        if not self._answered:
            return self.opened_at + limits.first_message_timeout_s, "its first message was not whole in time"
        if self.frame_since is not None:
            return self.frame_since + limits.frame_timeout_s, "its message was not whole in time"
        idle_s = limits.resume_timeout_s if self.resuming else limits.idle_timeout_s
        return self.quiet_since + idle_s, "it said nothing for too long"
