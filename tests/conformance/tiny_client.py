"""A client of all revisions, small enough to be broken in one way at a time by a subclass.

It is right; each subclass in `wrong_clients` overrides one method and is wrong in what that does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import zlib
from typing import Any

import attrs

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Bet,
    BetBatch,
    ClientConnection,
    OpenUpload,
    PeerClosed,
    RejectCode,
    RemoteProtocolError,
    TransportError,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode_bets,
    limits,
)
from bets_protocol.transports import connect

DEADLINE_S = 20.0
TRIES = 8
LEAST_REST_S, MOST_REST_S = 0.02, 0.1
PAUSE_S = 0.55
ROWS, PER_BATCH = 7, 3


class Refused(Exception):
    """The server has refused for good."""


class Line:
    """One connection."""

    def __init__(self, url: str, revision: int) -> None:
        self.stream = connect(url, timeout_s=DEADLINE_S)
        self.protocol = ClientConnection(revision=revision)

    def exchange(self, message: Any) -> Any:
        """Says a message, gives its answer."""
        self.stream.send_all(self.protocol.send(message))
        return self.answer()

    def answer(self) -> Any:
        """The next answer."""
        while (event := self.protocol.next_event()) is NEED_DATA:
            self.protocol.receive_data(self.stream.receive() or b"")
        if event is CLOSED:
            raise PeerClosed("no answer")
        return event

    def close(self) -> None:
        """Ends the connection."""
        self.stream.close()

    def cut(self) -> None:
        """Ends it for a thread that waits for it."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.stream.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)


class TinyClient:
    """A client that runs in a thread: what `bets_protocol.conformance.against_client.runner.Client` wants.

    Args:
        url: of the server.
        revision: what it speaks.
    """

    def __init__(self, url: str, revision: int) -> None:
        self.url = url
        self.revision = revision
        self.bets = [
            Bet(
                agency=1,
                first_name="Zoë",
                last_name="Núñez",
                document=f"{row:08d}",
                birthdate="1999-03-17",
                number=row,
            )
            for row in range(ROWS)
        ]
        self.returncode: int | None = None
        self.killed = False
        self._lines: list[Line] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def poll(self) -> int | None:
        """As of a process."""
        return self.returncode

    def kill(self) -> None:
        """It gets no answer any more, and makes no connection."""
        self.killed = True
        for line in self._lines:
            line.cut()

    def wait(self) -> int:
        """As of a process."""
        self._thread.join(DEADLINE_S)
        assert self.returncode is not None
        return self.returncode

    def _run(self) -> None:
        code = 1
        try:
            if self.revision >= 9:
                self.upload()
            else:
                self.job()
            code = 0
        except Refused:
            code = 6
        except RemoteProtocolError:
            code = 5
        except TransportError:
            code = 4
        finally:
            for line in self._lines:
                line.close()
            self.returncode = code

    def line(self) -> Line:
        """A new connection."""
        if self.killed:
            raise PeerClosed("killed")
        line = Line(self.url, self.revision)
        self._lines.append(line)
        if self.killed:
            line.cut()
        return line

    # -- what subclasses break

    def units(self) -> list[Bet | BetBatch]:
        """The bets as messages."""
        if self.revision == 5:
            return list(self.bets)
        return [BetBatch(bets=self.bets[row : row + PER_BATCH]) for row in range(0, ROWS, PER_BATCH)]

    def job(self) -> None:
        """All of it, on revisions 5 to 8."""
        if self.revision < 8:
            for unit in self.units():
                line = self.line()
                self.hand_in(line, unit)
                line.close()
            if self.revision == 7:
                self.ask_until_answered(self.line())
            return
        line = self.line()
        for unit in self.units():
            self.hand_in(line, unit)
        self.ask_until_answered(line)

    def hand_in(self, line: Line, unit: Bet | BetBatch) -> None:
        """A message with bets, which has to be acknowledged."""
        if line.exchange(unit).count == 0:
            self.refused(line, unit)

    def refused(self, line: Line, unit: Bet | BetBatch) -> None:  # noqa: ARG002 - for subclasses
        """The bets were refused."""
        raise Refused

    def ask_until_answered(self, line: Line) -> None:
        """For the winners, once more if the connection breaks."""
        try:
            self.ask(line)
        except TransportError:
            self.ask(self.line())

    def ask(self, line: Line) -> None:
        """For the winners."""
        line.exchange(WinnersRequest(agency=1))

    def upload(self) -> None:
        """All of it, on revision 9."""
        for attempt in range(TRIES):
            try:
                line = self.line()
                status = self.expect_ok(line.exchange(self.opening(attempt)))
                self.check_sum(status)
                self.send_from(line, status.stored)
                self.ask_until_told(line)
            except (TransportError, RetryableCode):
                self.rest(attempt)
            else:
                return
        raise PeerClosed("too often")

    def rest(self, attempt: int) -> None:
        """Before the next connection."""
        time.sleep(min(MOST_REST_S, LEAST_REST_S * 2**attempt))

    def opening(self, attempt: int) -> OpenUpload:  # noqa: ARG002 - for subclasses
        """The first message."""
        return OpenUpload(agency=1, draw=1, total=ROWS, upload_id=bytes(16))

    def check_sum(self, status: UploadStatus) -> None:
        """What is stored has to be what the file begins with."""
        if status.crc32 != zlib.crc32(encode_bets(self.bets[: status.stored])):
            raise Refused

    def send_from(self, line: Line, row: int) -> None:
        """The bets that are not stored."""
        for start in range(row, ROWS, PER_BATCH):
            self.expect_ok(line.exchange(BetBatch(bets=self.bets[start : start + PER_BATCH])))

    def ask_until_told(self, line: Line) -> None:
        """For the winners, again while an upload is unfinished."""
        answer = line.exchange(WinnersRequest(agency=1))
        while not isinstance(answer, Winners) or self.goes_on(answer):
            if isinstance(answer, Winners):
                answer = line.answer()
                continue
            if answer.reason is RejectCode.INCOMPLETE:
                answer = self.ask_again(line)
                continue
            self.expect_ok(answer)
            answer = line.answer()

    def goes_on(self, winners: Winners) -> bool:
        """Whether more winners follow."""
        return len(winners.documents) == limits.MAX_WINNERS

    def ask_again(self, line: Line) -> Any:
        """After INCOMPLETE."""
        time.sleep(PAUSE_S)
        return line.exchange(WinnersRequest(agency=1))

    def expect_ok(self, status: UploadStatus) -> UploadStatus:
        """What a code means."""
        if status.reason.retryable:
            self.told_to_come_back(status)
        if status.reason not in (RejectCode.OK, RejectCode.DRAWN):
            self.told_to_stop(status)
        return status

    def told_to_come_back(self, status: UploadStatus) -> None:  # noqa: ARG002 - for subclasses
        """A code after which a client comes back."""
        raise RetryableCode

    def told_to_stop(self, status: UploadStatus) -> None:  # noqa: ARG002 - for subclasses
        """A code after which a client stops."""
        raise Refused


class RetryableCode(Exception):
    """The server wants to be asked later."""


def with_value(bets: list[Bet], row: int, **values: Any) -> list[Bet]:
    """The bets, one of which is another."""
    return [attrs.evolve(bet, **values) if at == row else bet for at, bet in enumerate(bets)]
