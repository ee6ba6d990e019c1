"""One run of the client under test: what it has sent so far, and the usual answers of a server that stores in memory.

A run may take any number of connections. It checks the rules that hold in every scenario; the fault of a scenario
replaces the usual answer to some of the messages.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from bets_protocol import (
    CLOSED,
    NEED_DATA,
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

if TYPE_CHECKING:
    from bets_protocol.conformance.against_client.scenarios import Scenario

_WINNERS = 2
"""How many of an agency's bets win: its first ones, since the numbers of the bets do not matter to the client."""

FIRST_ANSWER_AFTER_S = 0.2
"""Seconds before the first answer in a scenario of slow answers, to find clients that do not wait for it."""

MAX_RETURNS = 3
"""How often a client may come back although it should not, before its run is ended."""


@attrs.define
class Upload:
    """An upload and how much of it is stored."""

    opened: OpenUpload
    stored: int = 0
    crc32: int = 0

    def status(self, code: RejectCode = RejectCode.OK) -> UploadStatus:
        """The answer that reports this state."""
        return UploadStatus(code=code, draw=self.opened.draw, stored=self.stored, crc32=self.crc32)


Fault = Callable[["Run", Peer, object, float], bool]
"""Answers a message of a peer at a time in another way than usual, or returns False to have the usual answer sent."""


@attrs.define(kw_only=True)
class Run:
    """What a client has done in one scenario."""

    revision: int  # the one that the client should speak
    report: ClientReport
    scenario: Scenario
    messages: int = 0  # how many came whole
    bets: list[Bet] = attrs.Factory(list)  # the stored ones, in order
    uploads: dict[bytes, Upload] = attrs.Factory(dict)  # by upload id
    opened: int = 0  # how often an upload was opened
    agency: int | None = None  # the one that the client speaks for, once it is known
    asked: int = 0  # how often the client asked for its winners
    asked_on: Peer | None = None  # the connection on which it asked last
    told: bool = False  # whether it was sent the winners
    after_told: int = 0  # how many messages came after that
    refused: object = None  # the message that was refused, if any
    refused_on: Peer | None = None  # the connection that ended with a refusal, if any
    lost: tuple[Bet, ...] = ()  # the bets that got no answer
    returns: int = 0  # how many messages came although the client should stay away
    attempts: list[float] = attrs.Factory(list)  # when the client asked for what it does not get at once
    bets_elsewhere: int = 0  # how many messages with bets came although the server does not know the revision
    spoiled: bool = False  # whether the client sent what had to be refused, so that it could not do its job
    exit_code: int | None = None  # of the program, if the runner started it
    left_early: bool = False  # whether the program ended before all answers were sent
    gave_up_after_s: float | None = None  # seconds of silence after which the program was killed, if it was

    def receive(self, peer: Peer, others: list[Peer], now: float) -> None:
        """Reads from a connection and answers the messages that came."""
        peer.receive()
        try:
            while (event := peer.connection.next_event()) is not NEED_DATA and event is not CLOSED:
                self._check(peer, others, event)
                if self.scenario.fault is None or not self.scenario.fault(self, peer, event, now):
                    self._reply(peer, event, now)
                if peer.cut:
                    return
        except RemoteProtocolError as error:
            self._record_error(peer, error)
            if not peer.closed:
                if not peer.connection.unanswered:  # otherwise the scenario left a message unanswered
                    peer.answer(peer.connection.refuse(), now)
                peer.end(now)
        if peer.connection.buffered > MAX_BUFFERED_BYTES:
            peer.cut_off()
        if peer.connection.finished and peer.connection.buffered and self.revision in rules.UP_TO_7:
            self.spoiled = True
            self.report.broken(rules.ONE_MESSAGE, f"{peer.connection.buffered} bytes behind the first message")

    @property
    def _excused(self) -> bool:
        """Whether the client has a reason to leave a message unfinished or an answer unread."""
        return bool(self.lost) or self.scenario.may_stop or self.spoiled

    def peer_closed(self, peer: Peer) -> None:
        """Reports a connection that the client broke."""
        if peer.broken and not (peer.handshake_failed or peer.cut or self._excused):
            self.report.broken(rules.READS, peer.broken)

    def end_peer(self, peer: Peer) -> None:
        """Reports a part of a message on a connection that is still open at the end of the run."""
        if peer.closed or peer.input_ended or peer.cut or self._excused:
            return
        part = peer.partial
        if part and not peer.connection.finished and (lacks := partial.missing(peer.connection)):
            shown = part[:16].hex(" ") + (" ..." if len(part) > 16 else "")
            came = f"{len(part)} bytes of a message came ({shown}), then nothing: {lacks}"
            where = partial.wrong_length(part, self.revision)
            where = where or "a length or a count that is too large makes both ends wait for each other"
            self.report.broken(rules.WHOLE, f"{came}; {where}")
            self.spoiled = True

    def end(self) -> None:
        """Notes the rules that the client could have broken in this run and did not."""
        if not self.messages:
            return
        if self.left_early and not self._excused:
            self.report.broken(rules.READS, "the program ended before all answers had left")
        self.report.kept(
            *(rules.FRAMES, rules.BOUND, rules.COUNT, rules.VALUES, rules.WHOLE, rules.TURNS),
            *(rules.ONE_MESSAGE, rules.WAITS, rules.READS, rules.ONE_AGENCY),
        )
        if self.asked:
            self.report.kept(rules.SILENT)
        if self.opened:
            self.report.kept(rules.SAME_UPLOAD, rules.NO_BETS_TWICE)

    def _check(self, peer: Peer, others: list[Peer], event: object) -> None:
        self.messages += 1
        peer.messages += 1
        if self.told and not isinstance(event, Probe):
            self.after_told += 1
        if self.revision == 7 and peer.messages > 1:
            self.spoiled = True
            self.report.broken(rules.ONE_MESSAGE, f"{peer.messages} messages on one connection")
        if any(other.unanswered for other in others):
            self.report.broken(rules.WAITS, "a message on a new connection before the last one was answered")
        if self.revision >= 9 and peer.upload_id is None and isinstance(event, BetBatch | WinnersRequest):
            self.report.broken(rules.TURNS, f"a {type(event).__name__} on a connection without an OpenUpload")
        match event:
            case InvalidFrame(error=error):
                self.report.broken(rules.VALUES, str(error))
                self.spoiled = True
            case Bet() | BetBatch():
                for bet in bets_of(event):
                    self._is_about(bet.agency)
                if self.asked:
                    self.report.broken(rules.SILENT, f"{len(bets_of(event))} bets behind the WinnersRequest")
            case WinnersRequest(agency=agency):
                self._is_about(agency)
                self.asked += 1
            case OpenUpload(agency=agency):
                self._is_about(agency)

    def _is_about(self, agency: int) -> None:
        if self.agency is None:
            self.agency = agency
        elif self.agency != agency:
            self.report.broken(rules.ONE_AGENCY, f"agency {agency} behind agency {self.agency}")

    def _record_error(self, peer: Peer, error: RemoteProtocolError) -> None:
        """Reports the rule that the client broke, by the error of its connection."""
        if peer.broken or (isinstance(error, TruncatedFrame) and self.scenario.may_stop):
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

    def _reply(self, peer: Peer, event: object, now: float) -> None:
        after_s = FIRST_ANSWER_AFTER_S if self.scenario.bytewise and self.messages == 1 else 0.0
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
                peer.answer(connection.send(self.store(peer, event)), now, after_s=after_s)
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
        """The state of a connection's upload; all zeros if it has none."""
        upload = self._upload_of(peer)
        return upload.status(code) if upload else UploadStatus(code=code, draw=0, stored=0, crc32=0)

    def store(self, peer: Peer, message: Bet | BetBatch) -> Ack | UploadStatus:
        """Stores bets; returns the answer that acknowledges them."""
        bets = bets_of(message)
        self.bets += bets
        upload = self._upload_of(peer)
        if upload is None:
            return Ack(count=len(bets))
        upload.stored += len(bets)
        upload.crc32 = zlib.crc32(encode_bets(bets), upload.crc32)
        if upload.stored > upload.opened.total:
            self.report.broken(rules.NO_BETS_TWICE, f"{upload.stored} bets of {upload.opened.total}")
        return upload.status()

    def send_winners(self, peer: Peer, now: float, *, signs_of_life: int = 1, apart_s: float = 0.0) -> None:
        """Answers a WinnersRequest; on revision 9 with `signs_of_life` codes 0, and the draw `apart_s` after those."""
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
        """Refuses a message: with Ack 0, or on an upload with `code` and the end of the connection."""
        if not peer.connection.uploads:
            peer.answer(peer.connection.send(Ack(count=0)), now)
            return
        if isinstance(message, OpenUpload):
            self.open(peer, message)
        peer.answer(peer.connection.send(self.status_on(peer, code)), now)
        peer.end(now)


def bets_of(message: Bet | BetBatch) -> tuple[Bet, ...]:
    """The bets in a message."""
    return message.bets if isinstance(message, BetBatch) else (message,)
