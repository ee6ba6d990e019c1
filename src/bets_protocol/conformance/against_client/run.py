"""One run of the client under test: what it has said so far, and the answers of a server that stores in memory.

A run may take any number of connections. What holds whatever happens is looked at here; a scenario steps in where it
wants another answer than the usual one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import attrs

from bets_protocol import (
    Ack,
    Bet,
    BetBatch,
    DecodeError,
    FrameTooLarge,
    InvalidFrame,
    OpenUpload,
    Probe,
    RejectCode,
    RemoteProtocolError,
    SequenceError,
    TruncatedFrame,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode_bets,
)
from bets_protocol.conformance import partial
from bets_protocol.conformance.against_client import rules
from bets_protocol.conformance.against_client.peer import MAX_BUFFERED_BYTES, Peer
from bets_protocol.conformance.against_client.rules import ClientReport

_WINNERS = 2
"""How many of its first bets an agency is told to have won: what the numbers were does not matter here."""

FIRST_ANSWER_AFTER_S = 0.2
"""Seconds that the first answer is late in a scenario of slow answers: who does not wait for it is seen."""

MAX_RETURNS = 3
"""How often a client may come back where it should not, before its run is ended."""


@attrs.define
class Upload:
    """What is stored of an upload."""

    opened: OpenUpload
    stored: int = 0
    crc32: int = 0

    def status(self, code: RejectCode = RejectCode.OK) -> UploadStatus:
        """The answer that says so."""
        return UploadStatus(code=code, draw=self.opened.draw, stored=self.stored, crc32=self.crc32)


Fault = Callable[["Run", Peer, object, float], bool]
"""Does something else than the usual to a message, at a time; gives whether it has."""


@attrs.define(kw_only=True)
class Run:
    """What a client has done.

    Attributes:
        revision: what it should speak.
        book: where broken rules are written.
        fault: what the scenario does.
        slow: the first answer is late.
        may_stop: the scenario gives the client a reason to stop, so it may leave answers unread.
        messages: how many came whole.
        bets: those that were stored, in order.
        uploads: by name.
        opened: how often an upload was opened.
        agency: what it is about; None: not known yet.
        asked: how often it asked for its winners.
        told: it has got them.
        after_told: messages that came nevertheless.
        refused: the message that was refused; None: none.
        lost: the bets that got no answer; empty: none.
        returns: messages that came although the client had been told to stay away.
        asked_on: the connection on which it asked last.
        spoiled: the client has sent what had to be refused, so it could not do its job.
        exit_code: of the program; None where it is not ours.
        refused_on: the connection that was ended with a refusal; None: none.
        knocks: when the client has asked for what it does not get at once.
        bets_elsewhere: messages with bets that came though the revision is not known here.
        left_early: the program ended before all answers had left.
        gave_up_after_s: seconds of silence after which the program was killed; None: it was not.
    """

    revision: int
    report: ClientReport
    fault: Fault | None = None
    slow: bool = False
    may_stop: bool = False
    messages: int = 0
    bets: list[Bet] = attrs.Factory(list)
    uploads: dict[bytes, Upload] = attrs.Factory(dict)
    opened: int = 0
    agency: int | None = None
    asked: int = 0
    told: bool = False
    after_told: int = 0
    refused: object = None
    lost: tuple[Bet, ...] = ()
    returns: int = 0
    asked_on: Peer | None = None
    spoiled: bool = False
    exit_code: int | None = None
    refused_on: Peer | None = None
    attempts: list[float] = attrs.Factory(list)
    bets_elsewhere: int = 0
    left_early: bool = False
    gave_up_after_s: float | None = None

    def receive(self, peer: Peer, others: list[Peer], now: float) -> None:
        """Takes what a connection has said and has it answered."""
        peer.receive()
        try:
            for event in peer.events():
                self._check(peer, others, event)
                if self.fault is None or not self.fault(self, peer, event, now):
                    self._reply(peer, event, now)
                if peer.cut:
                    return
        except RemoteProtocolError as error:
            self._record_error(peer, error)
            if not peer.closed:
                if not peer.connection.unanswered:  # else a scenario has left a message without an answer
                    peer.answer(peer.connection.refuse(), now)
                peer.end(now)
        if peer.connection.buffered > MAX_BUFFERED_BYTES:
            peer.cut_off()
        if peer.connection.finished and peer.connection.buffered and self.revision in rules.UP_TO_7:
            self.spoiled = True
            self.report.broken(rules.ONE_MESSAGE, f"{peer.connection.buffered} bytes behind the first message")

    def peer_closed(self, peer: Peer) -> None:
        """A connection is over."""
        if peer.broken and not (peer.handshake_failed or peer.cut or self.lost or self.may_stop or self.spoiled):
            self.report.broken(rules.READS, peer.broken)

    def end_peer(self, peer: Peer) -> None:
        """The run is over and the connection is open still: part of a message may be all that has come."""
        if peer.closed or peer.input_ended or peer.cut or self.lost or self.may_stop or self.spoiled:
            return
        part = peer.partial
        if part and not peer.connection.finished and (lacks := partial.missing(peer.connection)):
            came = f"{len(part)} bytes of a message came ({partial.shown(part)}), then nothing: {lacks}"
            where = partial.wrong_length(part, self.revision)
            where = where or "a length or a count that is too large makes both ends wait for each other"
            self.report.broken(rules.WHOLE, f"{came}; {where}")
            self.spoiled = True

    def end(self) -> None:
        """The client has finished; what it could have broken and has not, it has kept."""
        if not self.messages:
            return
        if self.left_early and not (self.lost or self.may_stop or self.spoiled):
            self.report.broken(rules.READS, "the program ended before all answers had left")
        self.report.kept(
            *(rules.FRAMES, rules.BOUND, rules.COUNT, rules.VALUES, rules.WHOLE, rules.TURNS),
            *(rules.ONE_MESSAGE, rules.WAITS, rules.READS, rules.ONE_AGENCY),
        )
        if self.asked:
            self.report.kept(rules.SILENT)
        if self.opened:
            self.report.kept(rules.SAME_UPLOAD, rules.NO_BETS_TWICE)

    # -- what must hold whatever happens

    def _check(self, peer: Peer, others: list[Peer], event: object) -> None:
        self.messages += 1
        peer.asked += 1
        if self.told and not isinstance(event, Probe):
            self.after_told += 1
        if self.revision == 7 and peer.asked > 1:
            self.spoiled = True
            self.report.broken(rules.ONE_MESSAGE, f"{peer.asked} messages on one connection")
        if any(other.unanswered for other in others):
            self.report.broken(rules.WAITS, "a message on a new connection before the last one was answered")
        match event:
            case InvalidFrame(error=error):
                self.report.broken(rules.VALUES, str(error))
                self.spoiled = True
            case Bet() | BetBatch():
                for bet in bets_of(event):
                    self._is_about(bet.agency)
                if self.asked:
                    self.report.broken(rules.SILENT, f"{len(bets_of(event))} bets behind the WinnersRequest")
                if self.revision >= 9 and peer.upload_id is None:
                    self.report.broken(rules.TURNS, "a BetBatch on a connection without an OpenUpload")
            case WinnersRequest(agency=agency):
                self._is_about(agency)
                self.asked += 1
                if self.revision >= 9 and peer.upload_id is None:
                    self.report.broken(rules.TURNS, "a WinnersRequest on a connection without an OpenUpload")
            case OpenUpload(agency=agency):
                self._is_about(agency)

    def _is_about(self, agency: int) -> None:
        if self.agency is None:
            self.agency = agency
        elif self.agency != agency:
            self.report.broken(rules.ONE_AGENCY, f"agency {agency} behind agency {self.agency}")

    def _record_error(self, peer: Peer, error: RemoteProtocolError) -> None:
        """Which rule the client has broken with what its connection raises."""
        if peer.broken or (isinstance(error, TruncatedFrame) and self.may_stop):
            return
        name = rules.FRAMES
        if isinstance(error, FrameTooLarge):
            name = rules.BOUND
        elif isinstance(error, TruncatedFrame):
            name = rules.WHOLE
        elif isinstance(error, SequenceError):
            name = rules.TURNS
        elif isinstance(error, DecodeError) and error.path == "bets":
            name = rules.COUNT
        where = partial.wrong_length(peer.partial, self.revision)
        self.report.broken(name, f"{where}; {error}" if where else str(error))
        self.spoiled = True

    # -- the usual answers

    def _reply(self, peer: Peer, event: object, now: float) -> None:
        after_s = FIRST_ANSWER_AFTER_S if self.slow and self.messages == 1 else 0.0
        connection = peer.connection
        match event:
            case Probe():
                peer.answer(connection.send(event), now)
                peer.end(now)
            case InvalidFrame():
                self.refuse(peer, event, RejectCode.BAD_BET, now)
            case OpenUpload():
                peer.answer(connection.send(self.open(peer, event).status()), now, after_s=after_s)
            case Bet() | BetBatch():
                self.store(peer, event)
                peer.answer(connection.send(self.acknowledgement(peer, event)), now, after_s=after_s)
            case WinnersRequest():
                self.send_winners(peer, now)
        if self.revision in (5, 6):
            peer.end(now)

    def open(self, peer: Peer, message: OpenUpload) -> Upload:
        """Binds a connection to its upload."""
        self.opened += 1
        known = next(iter(self.uploads.values()), None)
        if known is not None and known.opened != message:
            self.report.broken(rules.SAME_UPLOAD, f"{message}, where it was {known.opened}")
        upload = self.uploads.setdefault(message.upload_id, Upload(message))
        peer.upload_id = message.upload_id
        return upload

    def _upload_of(self, peer: Peer) -> Upload | None:
        return None if peer.upload_id is None else self.uploads[peer.upload_id]

    def status_on(self, peer: Peer, code: RejectCode = RejectCode.OK) -> UploadStatus:
        """How the upload of a connection stands; where there is none, all zeros."""
        upload = self._upload_of(peer)
        return upload.status(code) if upload else UploadStatus(code=code, draw=0, stored=0, crc32=0)

    def store(self, peer: Peer, message: Bet | BetBatch) -> None:
        """Takes bets into the book."""
        bets = bets_of(message)
        self.bets += bets
        upload = self._upload_of(peer)
        if upload is not None:
            upload.stored += len(bets)
            upload.crc32 = zlib.crc32(encode_bets(bets), upload.crc32)
            if upload.stored > upload.opened.total:
                self.report.broken(rules.NO_BETS_TWICE, f"{upload.stored} bets of {upload.opened.total}")

    def acknowledgement(self, peer: Peer, message: Bet | BetBatch) -> Ack | UploadStatus:
        """The answer to bets that were stored."""
        upload = self._upload_of(peer)
        return Ack(count=len(bets_of(message))) if upload is None else upload.status()

    def send_winners(self, peer: Peer, now: float, *, signs_of_life: int = 1, apart_s: float = 0.0) -> None:
        """Answers who asks for winners: on revision 9 with so many 0 before the draw, which is `apart_s` later."""
        self.asked_on = peer
        winners = Winners(documents=[bet.document for bet in self.bets[:_WINNERS]])
        upload = self._upload_of(peer)
        if upload is not None:
            for _ in range(signs_of_life):
                peer.answer(peer.connection.send(upload.status()), now)
            peer.answer(peer.connection.send(upload.status(RejectCode.DRAWN)), now, after_s=apart_s)
        peer.answer(peer.connection.send(winners), now)
        self.told = True

    def refuse(self, peer: Peer, message: object, code: RejectCode, now: float) -> None:
        """Refuses a message: with Ack 0, or with `code` and the end on an upload."""
        if not peer.connection.uploads:
            peer.answer(peer.connection.send(Ack(count=0)), now)
            return
        if isinstance(message, OpenUpload):
            self.open(peer, message)
        peer.answer(peer.connection.send(self.status_on(peer, code)), now)
        peer.end(now)


def bets_of(message: Bet | BetBatch) -> tuple[Bet, ...]:
    """The bets of what hands bets in."""
    return message.bets if isinstance(message, BetBatch) else (message,)
