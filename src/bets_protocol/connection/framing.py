"""Bytes as they arrive, cut into whole frames, with no byte looked at twice.

What is in front is scanned by the codec that whoever reads has chosen for it; the scanner remembers where it was, so a
frame that drips in costs what it costs in one piece.
"""

from __future__ import annotations

from collections.abc import Generator

from bets_protocol.bytes_like import Octets, octets
from bets_protocol.codec import CODECS, Codec
from bets_protocol.errors import LocalProtocolError, RemoteProtocolError, TruncatedFrame


class FrameReader:
    """Cuts a growing buffer into frames.

    Attributes:
        buffer: what has come in and belongs to no whole frame yet.
        ended: the peer has ended its stream.
        error: what broke the protocol; kept, since nobody knows where the next frame starts.
        codec: of the frame at the front, once `begin` has said so.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.error: RemoteProtocolError | None = None
        self.codec: Codec | None = None
        self._scan: Generator[int, None, int] | None = None
        self._needed = 0

    def feed(self, data: Octets) -> None:
        """Takes bytes of the peer; empty bytes are the end of its stream.

        Raises:
            LocalProtocolError: that end was there before.
            TypeError: these are no bytes, as the None of a stream that has nothing now; nothing was taken.
        """
        if type(data) is not bytes:
            data = octets(data)  # before anything is decided: None and False are no end of a stream
        if not data:
            self.ended = True
        elif self.ended:
            raise LocalProtocolError("bytes after the end of the stream")
        else:
            self.buffer += data

    def begin(self, codec: Codec) -> None:
        """The frame at the front of the buffer is one of `codec`."""
        self.codec, self._scan, self._needed = codec, codec.scan(self.buffer), 0

    @property
    def between_frames(self) -> bool:
        """Whether `begin` is due before anything can be taken."""
        return self._scan is None

    def take(self) -> tuple[Codec, bytes] | None:
        """The frame at the front once it is whole, else None.

        Raises:
            DecodeError: it breaks its layout, or the stream ended inside it.
        """
        if self.codec is None or self._scan is None:
            return None
        if len(self.buffer) >= self._needed:
            try:
                self._needed = next(self._scan)
            except StopIteration as found:
                return self._cut(self.codec, found.value)
        if not self.ended:
            return None
        if self.codec is CODECS["probe"] and self.buffer:
            return self._cut(self.codec, len(self.buffer))  # a probe may end with the stream instead of an LF
        raise TruncatedFrame(
            f"expected {self._needed - len(self.buffer)} more bytes of a {self.codec.frame.class_name}, "
            "the stream ended",
            offset=len(self.buffer),
        )

    def _cut(self, codec: Codec, size: int) -> tuple[Codec, bytes]:
        frame = bytes(self.buffer[:size])
        del self.buffer[:size]
        self._scan = None
        return codec, frame
