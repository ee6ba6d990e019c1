"""Servers that are wrong in one way each."""

from __future__ import annotations

from bets_protocol import Bet, FrameTooLarge, OpenUpload, Probe, RejectCode, RemoteProtocolError, ServerConnection
from tests.conformance.tiny_server import Connection, TinyServer, Upload


class CountsModulo255(TinyServer):
    """Acknowledges 255 bets with 0."""

    def acknowledge(self, client: Connection, count: int) -> None:
        super().acknowledge(client, count % 255)


class ClosesAfterAValueError(TinyServer):
    """Refuses and ends the connection, as if nobody knew where the next message begins."""

    def refuse_value(self, client: Connection) -> bool:
        super().refuse_value(client)
        return False


class WaitsForTheRestOfAnything(TinyServer):
    """Looks at a batch when it is whole, however long."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        if isinstance(error, FrameTooLarge) and error.path.startswith("bets"):
            return not client.sock.recv(65536)
        return super().refuse_frame(client, error)


class StaysOpenAfterAnEmptyBatch(TinyServer):
    """Refuses it, and goes on reading."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        super().refuse_frame(client, error)
        return error.path == "bets" and not isinstance(error, FrameTooLarge) and not client.sock.recv(65536)


class TakesASegmentForAMessage(TinyServer):
    """Thinks that what one `recv` gives is what one `send` took."""

    def received(self, client: Connection, data: bytes) -> None:
        if data:
            client.protocol = ServerConnection(revision=self.revision)
        super().received(client, data)


class EndsLinesItself(TinyServer):
    """Sends a probe back with a line feed, whether or not there was one."""

    def echo(self, client: Connection, probe: Probe) -> None:
        client.say(probe.line.rstrip(b"\n") + b"\n")


class StoresWhatItRefuses(TinyServer):
    """Says no to bets of a sealed agency, and takes them all the same."""

    def refuse_sealed(self, bets: tuple[Bet, ...]) -> None:
        if not self.drawn:
            self.bets += bets


class TellsEverybodysWinners(TinyServer):
    """Gives each agency the whole list."""

    def winners_of(self, agency: int) -> list[str]:
        return super().winners_of(agency) + super().winners_of(3 - agency)


class TellsWinnersBackwards(TinyServer):
    """Gives the latest first."""

    def winners_of(self, agency: int) -> list[str]:
        return super().winners_of(agency)[::-1]


class WaitsForNobody(TinyServer):
    """Answers each agency when it asks."""

    def may_tell(self) -> bool:
        return True


class CountsWhoAsksTwice(TinyServer):
    """Takes the second question of an agency for the first one of another."""

    def seal(self, agency: int) -> None:
        super().seal(agency if agency not in self.sealed else 3 - agency)


class StaysOpen(TinyServer):
    """A server of revision 5 or 6 that waits for a second message."""

    def goes_on(self) -> bool:
        return True

    def received(self, client: Connection, data: bytes) -> None:
        if client.protocol.finished and data:
            client.protocol = ServerConnection(revision=self.revision)
        super().received(client, data)


class DoesNotFence(TinyServer):
    """Takes batches from any connection that once opened the upload."""

    def verdict_on_batch(self, client: Connection, upload: Upload, bets: tuple[Bet, ...]) -> RejectCode:
        client.epoch = upload.epoch
        return super().verdict_on_batch(client, upload, bets)


class TakesAnyTotal(TinyServer):
    """Does not compare the total with the one of before."""

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        code = super().verdict_on_open(message)
        return RejectCode.OK if code is RejectCode.MISMATCH else code


class TakesAnyDraw(TinyServer):
    """Does not look at the draw."""

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        code = super().verdict_on_open(message)
        return RejectCode.OK if code is RejectCode.WRONG_DRAW else code


class TakesForeignBets(TinyServer):
    """Stores bets of any agency in an upload."""

    def verdict_on_batch(self, client: Connection, upload: Upload, bets: tuple[Bet, ...]) -> RejectCode:
        code = super().verdict_on_batch(client, upload, bets)
        return RejectCode.OK if code is RejectCode.NOT_AUTHORIZED else code


class SealsUnfinishedAgencies(TinyServer):
    """Does not look whether an upload is unfinished."""

    def is_incomplete(self, agency: int) -> bool:  # noqa: ARG002 - as it is overridden
        return False


class ForgetsTheSum(TinyServer):
    """Sums up what it stored since the upload was opened last."""

    def open(self, client: Connection, message: OpenUpload) -> bool:
        self.before = tuple(self.uploads[message.upload_id].bets) if message.upload_id in self.uploads else ()
        return super().open(client, message)

    def crc32(self, bets: tuple[Bet, ...]) -> int:
        return super().crc32(bets[len(self.before) :])


WRONG: tuple[tuple[type[TinyServer], int, set[str]], ...] = (
    (CountsModulo255, 8, {"batch-of-255-bets-is-taken"}),
    (ClosesAfterAValueError, 8, {"connection-goes-on-after-a-value-error"}),
    (WaitsForTheRestOfAnything, 8, {"refuses-8193-bytes"}),
    (TakesASegmentForAMessage, 7, {"message-may-come-byte-by-byte", "first-byte-may-come-alone"}),
    (EndsLinesItself, 8, {"probe-may-end-with-the-stream"}),
    (StoresWhatItRefuses, 8, {"refused-bets-never-win"}),
    (TellsEverybodysWinners, 8, {"winners-are-the-agency-s-own"}),
    (TellsWinnersBackwards, 7, {"every-winning-bet-wins-in-the-order-of-storing"}),
    (WaitsForNobody, 8, {"winners-are-held-back-until-all-have-asked", "asking-twice-counts-once"}),
    (CountsWhoAsksTwice, 8, {"asking-twice-counts-once"}),
    (StaysOpenAfterAnEmptyBatch, 8, {"refuses-count-0"}),
    (StaysOpen, 6, {"connection-ends-after-one-message", "second-message-is-not-answered"}),
    (DoesNotFence, 9, {"older-connection-is-fenced"}),
    (TakesAnyTotal, 9, {"same-name-with-another-total-is-refused"}),
    (TakesAnyDraw, 9, {"another-draw-is-refused"}),
    (TakesForeignBets, 9, {"bets-of-another-agency-are-refused"}),
    (SealsUnfinishedAgencies, 9, {"unfinished-upload-keeps-its-agency-open"}),
    (ForgetsTheSum, 9, {"upload-goes-on-where-it-stopped"}),
)
"""Each with the revision that it is checked for and the rules that it breaks."""
