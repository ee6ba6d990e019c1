"""Bounds the TLS records without content that a peer may send.

A change of keys, an attempt at renegotiation, a warning, an empty record: each costs the peer a few bytes, and us a
hundred times the processor time of a byte of content, and maybe an answer. No honest peer sends many of them.
"""

from __future__ import annotations

from typing import Final

from bets_protocol.transports.foreign import TLS_KINDS

HEAD_BYTES: Final = 5
"""Of a record: its kind, a version, and the length of the rest."""

_SPARE: Final = 64
_CONTENT_BYTES: Final = 1024


class RecordCount:
    """Counts the records of one direction, from the first byte on.

    64 records without content are free, and one more for each KiB of content.
    """

    def __init__(self) -> None:
        self._balance = 0
        self._content = 0  # bytes of content that do not make a KiB yet
        self._head = b""  # the incomplete head of a record
        self._skip = 0  # bytes until the next head

    def begin(self) -> None:
        """Start counting: the records of the handshake do not count."""
        self._balance = 0

    def came(self, data: bytes) -> None:
        """Count the records in bytes from the network."""
        data = self._head + data
        at = self._skip
        while at + HEAD_BYTES <= len(data):
            # If it is not a head, OpenSSL will raise. Until then it counts as a record of no length.
            body = int.from_bytes(data[at + 3 : at + HEAD_BYTES]) if data[at] in TLS_KINDS else 0
            at += HEAD_BYTES + body
            self._balance += 1
        self._head = data[at:]
        self._skip = max(0, at - len(data))

    def had_content(self, size: int, *, whole: bool) -> None:
        """Note `size` bytes of content of a record; `whole` says that these were its last."""
        paid, self._content = divmod(self._content + size, _CONTENT_BYTES)
        self._balance = max(0, self._balance - paid - whole)

    @property
    def idle(self) -> bool:
        """Whether too many records had no content. Call it when all complete records were read."""
        return self._balance > _SPARE
