"""What is said of a part of a message: what came, what is missing, and which length does not fit what stands behind it.

A length that is wrong makes a reader look for the next field in the wrong place, so what is reported stands some bets
behind what is wrong. Here each bet is tried with every length that it might have, which a checker has the time for.
"""

from __future__ import annotations

from bets_protocol import DecodeError, InvalidValue, RemoteProtocolError, ServerConnection, decode_bets, limits

_LENGTH_BYTES = 2
_BYTES_BEFORE_BETS = {5: 0, 6: 1}
"""By revision; the others have a type, too. What begins with another type is no batch."""

_BATCH_TYPE = 1
_MAX_BET_BYTES = 2 * (1 + limits.MAX_NAME_BYTES) + 64


def of_part(connection: ServerConnection, part: bytes) -> str:
    """What `connection` waits for, having got `part` of a message; it has ended then. Empty: for nothing."""
    if not part or connection.finished:
        return ""
    try:
        connection.receive_data(b"")
        connection.next_event()
    except RemoteProtocolError as error:
        missing = error.reason.removesuffix(", the stream ended")
        return f"{len(part)} bytes of a message came ({shown(part)}), then nothing: {missing}"
    return ""


def wrong_length(part: bytes, revision: int) -> str:
    """The first bet in `part` of a message whose length is not that of its fields; empty: none is known."""
    at, index = _BYTES_BEFORE_BETS.get(revision, 2), 0
    if revision >= 7 and part[:1] != bytes([_BATCH_TYPE]):
        return ""
    while at + _LENGTH_BYTES < len(part):
        length = int.from_bytes(part[at : at + _LENGTH_BYTES], "big")
        body = part[at + _LENGTH_BYTES : at + _LENGTH_BYTES + _MAX_BET_BYTES]
        takes = next((size for size in range(1, len(body) + 1) if _is_bet(body[:size])), None)
        if takes is None:
            return ""
        if takes != length:
            where = f"bets[{index}] at byte {at}" if revision != 5 else f"the bet at byte {at}"
            return f"{where}: its length says {length} bytes (big-endian, itself not counted), its fields take {takes}"
        at, index = at + _LENGTH_BYTES + length, index + 1
    return ""


def shown(part: bytes) -> str:
    """The beginning of `part`, in hexadecimal digits."""
    return part[:16].hex(" ") + (" ..." if len(part) > 16 else "")


def _is_bet(body: bytes) -> bool:
    try:
        decode_bets(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    except InvalidValue:
        return True  # of the right size all the same
    except DecodeError:
        return False
    return True
