"""Cuts bytes, as they arrive, into whole frames, and looks at no byte twice.

The caller chooses the codec of each frame. Its scanner remembers where it was, so a frame that arrives byte by byte
costs no more than one that arrives in one piece.
"""

from __future__ import annotations

from collections.abc import Generator

from bets_protocol.bytes_like import BytesLike, as_bytes
from bets_protocol.codec import CODECS, Codec
from bets_protocol.errors import LocalProtocolError, RemoteProtocolError, TruncatedFrame


class FrameReader:
    """Cuts a growing buffer into frames.

    Attributes:
        buffer: the bytes of frames that are not complete or not taken yet.
        ended: whether the peer has ended its stream.
        error: the breach of the protocol, or None. It stays, because it is unknown where the next frame begins.
        codec: of the frame at the front, set by `begin`.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.error: RemoteProtocolError | None = None
        self.codec: Codec | None = None
        self._scan: Generator[int, None, int] | None = None
        self._needed = 0

    def feed(self, data: BytesLike) -> None:
        """Add bytes from the peer; empty bytes are the end of its stream.

        Raises:
            LocalProtocolError: the stream had ended before.
            TypeError: `data` is not bytes, for example the None of a stream that has nothing now; nothing was taken.
        """
        if type(data) is not bytes:
            data = as_bytes(data)  # first of all, because None and False must not count as the end of the stream
        if not data:
            self.ended = True
        elif self.ended:
            raise LocalProtocolError("bytes after the end of the stream")
        else:
            self.buffer += data

    def begin(self, codec: Codec) -> None:
        """Set the codec of the frame at the front of the buffer."""
        self.codec, self._scan, self._needed = codec, codec.scan(self.buffer), 0

    @property
    def between_frames(self) -> bool:
        """Whether `begin` must be called before `take`."""
        return self._scan is None

    def take(self) -> tuple[Codec, bytes] | None:
        """Take the frame at the front if it is complete, else return None.

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
