"""One peer, seen from the server: its stream, its side of the protocol, and what is due to it.

Nothing in here selects, waits or reads a clock: the reactor says when bytes may move and hands out requests and
answers. The rules that a session keeps are those of back-pressure: it is not read while it owes too much or holds
enough, and what it holds is not answered while it owes too much; so a peer that sends without end or never reads only
fills its own buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    BetBatch,
    EncodedBatch,
    OpenUpload,
    RejectCode,
    RemoteProtocolError,
    ServerConnection,
    WinnersRequest,
)
from bets_protocol.transports import Stream
from bets_server.handlers import Answer, Binding, Request, Work

READ_AHEAD_BYTES = 65_536
"""Bytes of a peer that are held before they are answered: eight of the largest frames."""

OUTBOX_BYTES = 65_536
"""Bytes of answers that a peer may leave unread before its next request is left unanswered, and then unread, too."""

LINGER_BYTES = 262_144
"""Bytes that a peer may still send after its last answer: twice a usual window of 16 of the largest frames."""

UNIT_REQUESTS = 32
"""Requests of one session in one group: more than a usual window, so that pipelined batches share a flush to disk."""


class Session:
    """The server's side of one connection.

    Attributes:
        number: names it inside this process.
        busy: a unit of its requests is in work.
        waiting: the request for winners that waits for the draw, or None.
        closing: nothing more is read; closed once `outbox` is empty.
        lingering: `closing`, and the peer may still be sending: its bytes are thrown away until it ends.
        half_closed: `lingering`, and the peer was told that nothing more comes from here.
        ended: the peer has ended its side.
        agency: whose bets come from here, as far as the peer has said so.
        binding: its upload as it stood after the last answer; None: there is none.
    """

    def __init__(self, number: int, stream: Stream, *, revision: int) -> None:
        self.number = number
        self.stream = stream
        self.connection = ServerConnection(revision=revision, encoded=True)
        self.outbox = bytearray()
        self.busy = False
        self.waiting: WinnersRequest | None = None
        self.agency: int | None = None
        self.binding: Binding | None = None
        self.closing = False
        self.lingering = False
        self.half_closed = False
        self.ended = False
        self.drained_bytes = 0
        self.linger_until = 0.0
        self.in_work: tuple[Request, ...] = ()
        self.refused: RemoteProtocolError | None = None
        self.refusal_logged = False
        self._exhausted = False  # the protocol gives nothing more

    @property
    def wants_read(self) -> bool:
        """Whether bytes of the peer are welcome."""
        if self.closing:
            return self.lingering and not self.ended and self.drained_bytes <= LINGER_BYTES
        return not (self.ended or self.connection.buffered >= READ_AHEAD_BYTES or self.choked)

    @property
    def wants_write(self) -> bool:
        """Whether something is due to the peer."""
        return bool(self.outbox)

    @property
    def choked(self) -> bool:
        """Whether the peer leaves so many answers unread that it gets no more for now."""
        return len(self.outbox) >= OUTBOX_BYTES

    def read(self) -> None:
        """Takes what has come in, as far as there is room.

        Raises:
            ReadError: the connection broke.
        """
        while not self.ended and (room := READ_AHEAD_BYTES - self.connection.buffered) > 0:
            data = self.stream.receive(room)
            if data is None:
                return
            self.connection.receive_data(data)
            self.ended = not data

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
        if self.busy or self.waiting is not None or self.closing or self.choked:
            return None
        requests = self._next_requests()
        if not requests:
            self._close_if_done()
            return None
        return self._work(*requests)

    def _work(self, *requests: Request) -> Work:
        self.busy = True
        self.in_work = requests
        return Work(session=self.number, peer=self.stream.peer, requests=requests, binding=self.binding)

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
            if isinstance(event, WinnersRequest | OpenUpload):
                self.agency = event.agency
                break  # what may follow depends on the answer
            if isinstance(event, EncodedBatch):
                self.agency = event.lots[0].agency
        return requests

    def _close_if_done(self) -> None:
        if self.connection.finished:  # the last word is said, also where what came behind it breaks the protocol
            self.closing = self.lingering = True
        elif self.refused is not None:
            self.outbox += self.connection.refuse()
            self.closing = self.lingering = True
        elif self._exhausted:
            self.closing = True

    def take_answers(self, answers: Sequence[Answer]) -> None:
        """Puts the replies to the unit in work into the outbox; parks or closes where an answer says so."""
        self.busy = False
        for request, answer in zip(self.in_work, answers, strict=False):  # fewer where one of them ends the upload
            self.binding = answer.binding or self.binding
            if answer.reply is not None:
                self.outbox += self.connection.send(answer.reply)
            for reply in answer.more:
                self.outbox += self.connection.send(reply)
            if answer.waits and isinstance(request, WinnersRequest):
                self.waiting = request
            elif answer.reply is None:
                self.closing = True
        self.in_work = ()

    def end_upload(self, code: RejectCode) -> None:
        """Tells the peer that its upload is over on this connection, and reads nothing more of it."""
        if self.binding is not None and not self.connection.finished:
            self.outbox += self.connection.send(self.binding.status(code))
        self.waiting = None
        self.closing = self.lingering = True

    def beat(self) -> None:
        """Tells a peer that waits for the draw that the server is still there, where it understands that."""
        if self.waiting is not None and self.binding is not None and not self.outbox:
            self.outbox += self.connection.send(self.binding.status(RejectCode.OK))

    def ask_again(self) -> Work | None:
        """The request that waits for the draw, as a new unit."""
        if self.waiting is None:
            return None
        request, self.waiting = self.waiting, None
        return self._work(request)

    def flush(self) -> None:
        """Sends what the stream takes of the outbox.

        Raises:
            WriteError: the connection broke.
        """
        while self.outbox:
            sent = self.stream.send(self.outbox)
            if not sent:
                return
            del self.outbox[:sent]
