"""Servers that are wrong in one way each."""

from __future__ import annotations

import zlib

from bets_protocol import (
    Ack,
    Bet,
    FrameTooLarge,
    InvalidFrame,
    OpenUpload,
    Probe,
    RejectCode,
    RemoteProtocolError,
    SequenceError,
    ServerConnection,
    TruncatedFrame,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode,
    encode_bets,
)
from bets_protocol.conformance.against_server.mutations import VALUES
from tests.conformance.tiny_server import Connection, TinyServer, Upload


class CountsModulo255(TinyServer):
    """Acknowledges 255 bets with 0."""

    def acknowledge(self, client: Connection, count: int) -> None:
        super().acknowledge(client, count % 255)


class ClosesAfterAValueError(TinyServer):
    """Refuses and ends the connection, as if nobody knew where the next message begins."""

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        super().refuse_value(client, event)
        return event.kind is WinnersRequest


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

    def __init__(self, *, revision: int) -> None:
        self.before: dict[bytes, int] = {}
        super().__init__(revision=revision)

    def open(self, client: Connection, message: OpenUpload) -> bool:
        known = self.uploads.get(self.name_of(message))
        self.before[message.upload_id] = len(known.bets) if known else 0
        return super().open(client, message)

    def crc32(self, upload: Upload | None) -> int:
        if upload is None:
            return 0
        return zlib.crc32(encode_bets(upload.bets[self.before[upload.opened.upload_id] :]))


class TakesNoZero(TinyServer):
    """Takes number 0 for one that is missing."""

    def store(self, client: Connection, bets: tuple[Bet, ...]) -> bool:
        if any(bet.number == 0 for bet in bets):
            client.say(client.protocol.send(Ack(count=0)))
            return True
        return super().store(client, bets)


class ForgetsWhatIsBehindARefusal(TinyServer):
    """Throws away what has come in with a value error."""

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        goes_on = super().refuse_value(client, event)
        client.protocol = ServerConnection(revision=self.revision)
        return goes_on


class TellsAgency0(TinyServer):
    """Has winners for an agency that there is not: none."""

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        if event.kind is not WinnersRequest:
            return super().refuse_value(client, event)
        client.protocol.send(Ack(count=0))  # what is due
        client.say(encode(Winners(documents=())))
        return True


class GuessesTheRest(TinyServer):
    """Takes half a question for a whole one."""

    def received(self, client: Connection, data: bytes) -> None:
        client.said = getattr(client, "said", b"") + data  # type: ignore[attr-defined]
        if not data and client.said == encode(WinnersRequest(agency=1))[:1]:  # type: ignore[attr-defined]
            client.say(encode(Winners(documents=())))
        super().received(client, data)


class StaysOpenAfterAWrongTurn(TinyServer):
    """Refuses a message out of turn, and goes on reading."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        super().refuse_frame(client, error)
        return isinstance(error, SequenceError) and not client.sock.recv(65536)


class ProbesAtTheStartOnly(TinyServer):
    """Sends a line back if nothing was said before it."""

    def echo(self, client: Connection, probe: Probe) -> None:
        if not getattr(client, "has_stored", False):
            super().echo(client, probe)

    def acknowledge(self, client: Connection, count: int) -> None:
        client.has_stored = True  # type: ignore[attr-defined]
        super().acknowledge(client, count)


class ReadsOnBehindAProbe(TinyServer):
    """Does not close behind a line where more has come with it."""

    def received(self, client: Connection, data: bytes) -> None:
        client.raw = data  # type: ignore[attr-defined]
        super().received(client, data)

    def react(self, client: Connection, event: object) -> bool:
        goes_on = super().react(client, event)
        rest: bytes = client.raw.partition(event.line)[2] if isinstance(event, Probe) else b""  # type: ignore[attr-defined]
        if rest:
            client.protocol = ServerConnection(revision=self.revision)
            client.protocol.receive_data(rest)
        return goes_on or bool(rest)


class IgnoresUnknownTypes(TinyServer):
    """Waits for what it knows."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        if error.path == "type":
            return not client.sock.recv(65536)
        return super().refuse_frame(client, error)


class WaitsForTheVersionOfTomorrow(TinyServer):
    """Says nothing to an upload of a version that it does not know."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        if error.path == "version":
            return not client.sock.recv(65536)
        return super().refuse_frame(client, error)


class OpensForAgency0(TinyServer):
    """Does not look whose upload it is."""

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        return client.status(RejectCode.OK) if event.kind is OpenUpload else super().refuse_value(client, event)


class ForgetsWhenItRefuses(TinyServer):
    """Says that nothing is stored where it refuses something."""

    def store(self, client: Connection, bets: tuple[Bet, ...]) -> bool:
        upload = client.upload
        if upload is None or self.verdict_on_batch(client, upload, bets) is not RejectCode.OVERRUN:
            return super().store(client, bets)
        client.upload = Upload(upload.opened)
        return client.status(RejectCode.OVERRUN)


class OpensUploadsBehindOtherBets(TinyServer):
    """Does not look what an agency has sent without uploads."""

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        code = super().verdict_on_open(message)
        return RejectCode.OK if code is RejectCode.MODE_CONFLICT else code


class TakesOtherBetsBehindUploads(TinyServer):
    """The other way round."""

    def has_uploads(self, agency: int) -> bool:  # noqa: ARG002 - as it is overridden
        return False

    def store(self, client: Connection, bets: tuple[Bet, ...]) -> bool:
        goes_on = super().store(client, bets)
        self.plain = {agency for agency in self.plain if not super(type(self), self).has_uploads(agency)}
        return goes_on


class CannotCountSoFar(TinyServer):
    """Falls over a total that its numbers do not hold."""

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        if message.total >= 2**63:
            raise OSError("out of range")
        return super().verdict_on_open(message)


class StaysOpenAtItsLimit(TinyServer):
    """Says that there are too many uploads, and waits for the next."""

    def open(self, client: Connection, message: OpenUpload) -> bool:
        limited = self.verdict_on_open(message) is RejectCode.LIMIT and message.total == 1
        return super().open(client, message) or (limited and not client.sock.recv(65536))


class ClosesAtItsLimit(TinyServer):
    """Ends the connection of who opens too many uploads, without a word."""

    def open(self, client: Connection, message: OpenUpload) -> bool:
        limited = self.verdict_on_open(message) is RejectCode.LIMIT and message.total == 1
        return not limited and super().open(client, message)


class SharesNames(TinyServer):
    """Knows an upload by its name alone."""

    def name_of(self, message: OpenUpload) -> tuple[int, bytes]:
        return 0, message.upload_id

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        known = self.uploads.get(self.name_of(message))
        shared = known is not None and known.opened.agency != message.agency
        return RejectCode.OK if shared else super().verdict_on_open(message)


class ForgetsFinishedUploads(TinyServer):
    """Lets nobody in after the draw who wants to know."""

    def verdict_on_finished(self) -> RejectCode:
        return RejectCode.DRAW_CLOSED if self.drawn else super().verdict_on_finished()


class TakesLateBets(TinyServer):
    """Looks only whether an agency is sealed."""

    def is_over(self) -> bool:
        return False

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        code = super().verdict_on_open(message)
        return RejectCode.OK if code is RejectCode.DRAW_CLOSED and message.agency not in self.sealed else code


class LetsItsUploadEndUnfinished(TinyServer):
    """Takes who asks on the connection of an unfinished upload to have finished."""

    def ask(self, client: Connection, agency: int) -> bool:
        upload = client.upload
        if upload is not None and len(upload.bets) < upload.opened.total:
            return client.status(RejectCode.OK)
        return super().ask(client, agency)


class TakesHalfAnOpening(TinyServer):
    """Opens an upload of which the end of the stream has cut something off."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        if not (isinstance(error, TruncatedFrame) and client.protocol.uploads and client.upload is None):
            return super().refuse_frame(client, error)
        client.say(encode(UploadStatus(code=RejectCode.OK, draw=self.draw, stored=0, crc32=0), revision=9))
        return False


class WaitsForALongBet(TinyServer):
    """Believes every length in front of a bet, and waits for what it says."""

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:
        if ", not 65" in str(error):
            return not client.sock.recv(65536)
        return super().refuse_frame(client, error)


class TakesBadValues(TinyServer):
    """Does not look at values."""

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        client.protocol.send(Ack(count=0))  # what is due
        client.say(encode(Ack(count=event.count), revision=8))
        return self.goes_on()


class TakesTooMuch(TinyServer):
    """Does not look at the total."""

    def verdict_on_batch(self, client: Connection, upload: Upload, bets: tuple[Bet, ...]) -> RejectCode:
        code = super().verdict_on_batch(client, upload, bets)
        return RejectCode.OK if code is RejectCode.OVERRUN else code


def together(*kinds: type[TinyServer]) -> type[TinyServer]:
    """A server that is wrong in several ways, which have nothing to do with each other: a check takes its time."""
    return type("And".join(kind.__name__ for kind in kinds), kinds, {})


WRONG: tuple[tuple[type[TinyServer], int, set[str]], ...] = (
    (CountsModulo255, 8, {"batch-of-255-bets-is-taken"}),
    (
        ClosesAfterAValueError,
        8,
        {"connection-goes-on-after-a-value-error", "batch-behind-a-refused-one-is-judged-for-itself"},
    ),
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
    (
        SealsUnfinishedAgencies,
        9,
        {"unfinished-upload-keeps-its-agency-open", "finished-upload-can-always-be-opened"},
    ),
    (ForgetsTheSum, 9, {"upload-goes-on-where-it-stopped"}),
    (
        together(TakesNoZero, TellsAgency0, ProbesAtTheStartOnly, TakesLateBets),
        8,
        {
            "extreme-values-are-taken",
            "refuses-a-request-of-agency-0",
            "probe-may-follow-bets",
            "draw-is-over-for-everybody",
        },
    ),
    (
        together(TakesBadValues, WaitsForALongBet),
        6,
        {"refuses-length-too-large", *(f"refuses-{name}" for name in VALUES)},
    ),
    (
        TakesTooMuch,
        9,
        {
            "more-bets-than-the-total-are-refused",
            "nothing-behind-a-refused-message-is-looked-at",
            "refusals-say-what-is-stored",
        },
    ),
    (
        together(GuessesTheRest, ReadsOnBehindAProbe),
        7,
        {
            "refuses-a-request-that-is-cut-short",
            "what-follows-a-probe-is-not-looked-at",
            "refused-bets-never-win",
        },
    ),
    (
        together(ForgetsWhatIsBehindARefusal, StaysOpenAfterAWrongTurn, IgnoresUnknownTypes),
        8,
        {
            "batch-behind-a-refused-one-is-judged-for-itself",
            "upload-behind-bets-is-refused",
            "refuses-an-unknown-type",
        },
    ),
    (
        together(
            OpensForAgency0,
            OpensUploadsBehindOtherBets,
            TakesOtherBetsBehindUploads,
            CannotCountSoFar,
            SharesNames,
            TakesHalfAnOpening,
            ForgetsFinishedUploads,
        ),
        9,
        {
            "refuses-an-upload-of-agency-0",
            "agency-with-other-bets-opens-no-upload",
            "agency-with-uploads-sends-no-other-bets",
            "largest-total-is-understood",
            "names-of-uploads-are-an-agency-s-own",
            "refuses-an-opening-that-is-cut-short",
            "finished-upload-can-always-be-opened",
        },
    ),
    (
        together(
            StaysOpenAfterAWrongTurn,
            WaitsForTheVersionOfTomorrow,
            StaysOpenAtItsLimit,
            ForgetsWhenItRefuses,
            LetsItsUploadEndUnfinished,
        ),
        9,
        {
            "second-upload-on-a-connection-is-refused",
            "probe-in-an-upload-is-refused",
            "refuses-another-version",
            "uploads-beyond-a-limit-are-refused",
            "refusals-say-what-is-stored",
            "unfinished-upload-keeps-its-agency-open",
            "finished-upload-can-always-be-opened",
        },
    ),
    (
        together(ClosesAtItsLimit, TakesLateBets),
        9,
        {"uploads-beyond-a-limit-are-refused", "draw-is-over-for-everybody"},
    ),
)
"""Each with the revision that it is checked for and the rules that it breaks."""
