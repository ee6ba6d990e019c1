"""What both kits report about a part of a message: what came, what is missing, and which length is wrong.

A wrong length makes a reader look for the next field in the wrong place, so the error that it reports is some bets
after the mistake. `wrong_length` tries each bet with every length that it might have; a check has the time for that.
"""

from __future__ import annotations

from bets_protocol import (
    ClientConnection,
    DecodeError,
    InvalidValue,
    ProtocolError,
    ServerConnection,
    TruncatedFrame,
    decode_bets,
    limits,
)

LENGTH_BYTES = 2
_BYTES_BEFORE_BETS = {5: 0, 6: 1}
"""By revision; those from 7 on begin with a type, and a message of another type is not a batch."""

_BATCH_TYPE = 1
_MAX_BET_BYTES = 2 * (1 + limits.MAX_NAME_BYTES) + 64


def missing(connection: ClientConnection | ServerConnection) -> str:
    """What a message that came in part still lacks, or nothing if that is not known. It ends `connection`."""
    try:
        connection.receive_data(b"")
        connection.next_event()
    except TruncatedFrame as error:
        return error.reason.removesuffix(", the stream ended")
    except ProtocolError:
        pass  # the connection had failed before, or the end is an error of its own
    return ""


def wrong_length(part: bytes, revision: int) -> str:
    """The first bet in `part` of a message whose length is not that of its fields, or nothing if there is none."""
    at, index = _BYTES_BEFORE_BETS.get(revision, 2), 0
    if revision >= 7 and part[:1] != bytes([_BATCH_TYPE]):
        return ""
    while at + LENGTH_BYTES < len(part):
        length = int.from_bytes(part[at : at + LENGTH_BYTES], "big")
        body = part[at + LENGTH_BYTES : at + LENGTH_BYTES + _MAX_BET_BYTES]
        takes = next((size for size in range(1, len(body) + 1) if _is_bet(body[:size])), None)
        if takes is None:
            return ""
        if takes != length:
            where = f"bets[{index}] at byte {at}" if revision != 5 else f"the bet at byte {at}"
            return f"{where}: its length says {length} bytes (big-endian, itself not counted), its fields take {takes}"
        at, index = at + LENGTH_BYTES + length, index + 1
    return ""


def _is_bet(body: bytes) -> bool:
    try:
        decode_bets(len(body).to_bytes(LENGTH_BYTES, "big") + body)
    except InvalidValue:
        return True  # the value is wrong, the size is right
    except DecodeError:
        return False
    return True
