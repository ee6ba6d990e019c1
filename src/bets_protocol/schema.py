"""The declarations of the wire: the single source of every byte that travels.

Every frame of revisions 5 to 9 is one construct expression. The codec, the tables of docs/protocol.md, the validators
of the message classes and the strategies of the tests are derived from it. Importing this module imports construct, so
programs do not import it: they run what `nox -s generate` has made of it.

Big-endian is written in the type. Arrays have a count. Every body ends with `Terminated`, because construct ignores
what follows. There are no lambdas. A value rule is a `Ruled` with a rule of `bets_protocol.layout.rules`. Field names
are the attribute names of the message classes.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import construct as c

from bets_protocol import limits
from bets_protocol.errors import RejectCode
from bets_protocol.layout.rules import CalendarDate, IntRange, Rule, digits, printable_name


class Ruled(c.Validator):  # type: ignore[misc]  # construct has no types
    """A construct whose value must keep `rule`, when parsed and when built."""

    def __init__(self, subcon: Any, rule: Rule) -> None:
        super().__init__(subcon)
        self.rule = rule

    def _validate(self, obj: object, context: object, path: object) -> bool:  # noqa: ARG002  # construct's signature
        return self.rule.allows(obj)


class StrictEnum(c.Enum):  # type: ignore[misc]  # construct has no types
    """An Enum that refuses unknown numbers, which construct's own accepts."""

    def _decode(self, obj: int, context: object, path: str) -> Any:  # noqa: ARG002  # construct's signature
        if obj not in self.decmapping:
            raise c.MappingError(f"no member has the number {obj}", path=path)
        return obj

    def _encode(self, obj: int, context: object, path: str) -> Any:
        return self._decode(int(obj), context, path)


class Bounded(c.Subconstruct):  # type: ignore[misc]  # construct has no types
    """A construct that takes at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int, subcon: Any) -> None:
        super().__init__(subcon)
        self.max_bytes = max_bytes

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = c.stream_tell(stream, path)
        value = self.subcon._parsereport(stream, context, path)
        self._check(c.stream_tell(stream, path) - start, path)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        start = c.stream_tell(stream, path)
        value = self.subcon._build(obj, stream, context, path)
        self._check(c.stream_tell(stream, path) - start, path)
        return value

    def _check(self, size: int, path: str) -> None:
        if size > self.max_bytes:
            raise c.StreamError(f"{size} bytes, at most {self.max_bytes} are allowed", path=path)


class Line(c.Construct):  # type: ignore[misc]  # construct has no types
    """Bytes up to and including the first LF, or to the end of the stream; at most `max_bytes` without the LF."""

    def __init__(self, max_bytes: int, *, first: tuple[int, int]) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self.first = first

    def _parse(self, stream: Any, context: object, path: str) -> bytes:  # noqa: ARG002  # construct's signature
        line = bytearray()
        while (byte := stream.read(1)) not in (b"", b"\n"):
            line += byte
        return self._check(bytes(line + byte), path)

    def _build(self, obj: bytes, stream: Any, context: object, path: str) -> bytes:  # noqa: ARG002
        stream.write(self._check(obj, path))
        return obj

    def _check(self, line: bytes, path: str) -> bytes:
        text = line.removesuffix(b"\n")
        if not text or not self.first[0] <= text[0] <= self.first[1] or b"\n" in text:
            raise c.StreamError("not one line that begins with a printable ASCII character", path=path)
        if len(text) > self.max_bytes:
            raise c.StreamError(f"{len(text)} bytes, at most {self.max_bytes} are allowed", path=path)
        return line


U8: Final[Any] = c.Int8ub
U16: Final[Any] = c.Int16ub
U32: Final[Any] = c.Int32ub
U64: Final[Any] = c.Int64ub

AGENCY: Final = Ruled(U8, IntRange(1, limits.MAX_AGENCY))
NAME: Final = Ruled(c.PascalString(U8, "utf8"), printable_name())
DOCUMENT: Final = Ruled(c.FixedSized(8, c.GreedyString("ascii")), digits())
BIRTHDATE: Final = Ruled(c.FixedSized(10, c.GreedyString("ascii")), CalendarDate())
NUMBER: Final = Ruled(U16, IntRange(0, limits.MAX_BETTING_NUMBER))

BET: Final = "Bet" / c.Struct(
    "agency" / AGENCY,
    "first_name" / NAME,
    "last_name" / NAME,
    "document" / DOCUMENT,
    "birthdate" / BIRTHDATE,
    "number" / NUMBER,
    c.Terminated,
)

BET_FRAME: Final = c.Prefixed(U16, BET)
"""A bet with its length before it, alone (revision 5) or in a batch."""

BETS: Final = c.PrefixedArray(Ruled(U8, IntRange(1, limits.MAX_BATCH_BETS)), BET_FRAME)

UNTYPED_BATCH: Final = Bounded(limits.MAX_FRAME_BYTES, "BetBatch" / c.Struct("bets" / BETS, c.Terminated))
"""A batch of revision 6, which has no message types."""

BET_BATCH: Final = Bounded(
    limits.MAX_FRAME_BYTES, "BetBatch" / c.Struct("type" / c.Const(1, U8), "bets" / BETS, c.Terminated)
)

WINNERS_REQUEST: Final = "WinnersRequest" / c.Struct("type" / c.Const(2, U8), "agency" / AGENCY, c.Terminated)

ACK: Final = "Ack" / c.Struct("count" / U8, c.Terminated)

WINNERS: Final = "Winners" / c.Struct("documents" / c.PrefixedArray(U16, DOCUMENT), c.Terminated)

PROBE: Final = "Probe" / c.Struct("line" / Line(limits.MAX_PROBE_BYTES, first=(0x20, 0x7E)), c.Terminated)

OPEN_UPLOAD: Final = "OpenUpload" / c.Struct(
    "type" / c.Const(3, U8),
    "version" / c.Const(1, U8),
    "agency" / AGENCY,
    "draw" / U32,
    "total" / U64,
    "upload_id" / c.Bytes(16),
    c.Terminated,
)

UPLOAD_STATUS: Final = "UploadStatus" / c.Struct(
    "type" / c.Const(0x83, U8),
    "code" / StrictEnum(U8, RejectCode),
    "draw" / U32,
    "stored" / U64,
    "crc32" / U32,
    c.Terminated,
)


@attrs.frozen(kw_only=True)
class FrameSchema:
    """One kind of frame.

    Attributes:
        name: the base of the names of the generated functions.
        sender: "client", "server" or "both".
        title: what it is, for the documentation.
    """

    name: str
    layout: Any
    sender: str
    revisions: tuple[int, ...]
    title: str


FRAMES: Final = (
    FrameSchema(name="bet_frame", layout=BET_FRAME, sender="client", revisions=(5,), title="one bet, bare"),
    FrameSchema(name="untyped_batch", layout=UNTYPED_BATCH, sender="client", revisions=(6,), title="a batch, untyped"),
    FrameSchema(name="bet_batch", layout=BET_BATCH, sender="client", revisions=(7, 8, 9), title="a batch of bets"),
    FrameSchema(
        name="winners_request",
        layout=WINNERS_REQUEST,
        sender="client",
        revisions=(7, 8, 9),
        title="this agency has sent everything and waits for its winners",
    ),
    FrameSchema(name="probe", layout=PROBE, sender="both", revisions=(7, 8, 9), title="a line that is sent back"),
    FrameSchema(name="ack", layout=ACK, sender="server", revisions=(5, 6, 7, 8), title="how many bets were stored"),
    FrameSchema(
        name="winners", layout=WINNERS, sender="server", revisions=(7, 8, 9), title="the documents of the winners"
    ),
    FrameSchema(
        name="open_upload", layout=OPEN_UPLOAD, sender="client", revisions=(9,), title="binds a connection to an upload"
    ),
    FrameSchema(
        name="upload_status",
        layout=UPLOAD_STATUS,
        sender="server",
        revisions=(9,),
        title="how the upload stands, in front of every reply",
    ),
)
"""Every frame of the protocol, in the order of the documentation."""
