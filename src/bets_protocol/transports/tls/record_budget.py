"""Counts the records of TLS that a peer sends, against those that bring something: what is neither bytes nor an end.

A new key, an attempt at renegotiation, a warning, an empty record: each costs a few bytes to send and a hundred times
the processor time of a byte, may oblige us to an answer, and nobody in good faith sends many of them.
"""

from __future__ import annotations

from typing import Final

from bets_protocol.transports.foreign import TLS_KINDS

HEAD_BYTES: Final = 5
"""Of a record: its kind, a version, and how many bytes follow."""

_SPARE: Final = 64
_CONTENT_BYTES: Final = 1024


class RecordCount:
    """The records of one direction, from the first byte on.

    Rule: for each KiB of content there may be one record without, and 64 in all beyond that.
    """

    def __init__(self) -> None:
        self._balance = 0
        self._content = 0  # bytes that have not paid for a record yet
        self._head = b""  # of a record, as far as it is there
        self._skip = 0  # bytes until the next head

    def begin(self) -> None:
        """The handshake is over: what came before does not count."""
        self._balance = 0

    def came(self, data: bytes) -> None:
        """These bytes came from the network."""
        data = self._head + data
        at = self._skip
        while at + HEAD_BYTES <= len(data):
            # What is no head, OpenSSL will say; until then it hides no records.
            body = int.from_bytes(data[at + 3 : at + HEAD_BYTES]) if data[at] in TLS_KINDS else 0
            at += HEAD_BYTES + body
            self._balance += 1
        self._head = data[at:]
        self._skip = max(0, at - len(data))

    def had_content(self, size: int, *, whole: bool) -> None:
        """So many bytes were in one of them; `whole`: and no more are."""
        paid, self._content = divmod(self._content + size, _CONTENT_BYTES)
        self._balance = max(0, self._balance - paid - whole)

    @property
    def idle(self) -> bool:
        """Whether too many had none; to be asked once all that are whole were read."""
        return self._balance > _SPARE
