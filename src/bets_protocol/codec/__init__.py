"""Binds every kind of frame to its message class and to the functions that read and write it.

This is the only door to the generated code, pure or native: connections and callers know `Codec`, never a generated
function. Which codec serves a message on a revision follows from the table of frames that the schema declares.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

import attrs

from bets_protocol import messages
from bets_protocol.bytes_like import BytesLike, as_bytes
from bets_protocol.codec.backend import codec_function
from bets_protocol.errors import LocalProtocolError
from bets_protocol.generated import layouts
from bets_protocol.layout.nodes import Frame

M = TypeVar("M")

NEWEST_REVISION: Final = max(revision for frame in layouts.FRAMES for revision in frame.revisions)
"""The default wherever a revision can be chosen: 9, which stores every bet exactly once."""


@attrs.frozen
class Codec:
    """The functions of one kind of frame.

    Attributes:
        frame: its layout, and who says it where.
        message_class: what it decodes to.
        check: refuses bytes that are not one whole sound frame; makes no objects.
        decode: bytes of one whole frame to a message.
        encode: a message to bytes.
        scan: finds the end of a frame in a buffer that still grows.
    """

    frame: Frame
    message_class: type[Any]
    check: Callable[[bytes], None]
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    scan: Callable[[bytearray], Generator[int, None, int]]


def _bind(frame: Frame) -> Codec:
    return Codec(
        frame=frame,
        message_class=getattr(messages, frame.class_name),
        **{verb: codec_function(f"{verb}_{frame.name}") for verb in ("check", "decode", "encode", "scan")},
    )


CODECS: dict[str, Codec] = {frame.name: _bind(frame) for frame in layouts.FRAMES}
_BY_CLASS: dict[tuple[type[Any], int], Codec] = {
    (codec.message_class, revision): codec for codec in CODECS.values() for revision in codec.frame.revisions
}


def codec_for(kind: type[Any], revision: int) -> Codec:
    """The codec of messages of class `kind` on `revision`.

    Raises:
        LocalProtocolError: the revision has no such message.
    """
    codec = _BY_CLASS.get((kind, revision))
    if codec is None:
        having = sorted(str(number) for known, number in _BY_CLASS if known is kind)
        raise LocalProtocolError(
            f"revision {revision} has no {kind.__name__}; revision {', '.join(having) or 'none'} has"
        )
    return codec


def encode(message: messages.Message, *, revision: int = NEWEST_REVISION) -> bytes:
    """The bytes of `message` as one whole frame of `revision`.

    Raises:
        LocalProtocolError: the revision has no such message, or its frame would pass 8192 bytes.
    """
    return codec_for(type(message), revision).encode(message)


def decode(kind: type[M], data: BytesLike, *, revision: int = NEWEST_REVISION) -> M:
    """The message of class `kind` in `data`, which must be one whole frame of `revision` and nothing else.

    Raises:
        DecodeError: the bytes do not fit the layout.
        InvalidValue: they do, and a value breaks its rule.
        LocalProtocolError: the revision has no such message.
        TypeError: `data` is no bytes, bytearray or memoryview.
    """
    decoded: M = codec_for(kind, revision).decode(as_bytes(data))
    return decoded
