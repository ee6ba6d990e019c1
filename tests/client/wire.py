"""Rows of an agency's file, and the same bets as the contract has them on the wire."""

from __future__ import annotations

ROW = "Ana,Paz,30904465,1999-03-17,7574\n"
BET_ON_THE_WIRE = bytes.fromhex("001d 01 03") + b"Ana" + b"\x03Paz" + b"30904465" + b"1999-03-17" + b"\x1d\x96"


def row(number: int) -> str:
    """A row whose document and number tell which row it is."""
    return f"Ana,Paz,{30_000_000 + number},1999-03-17,{number}\n"


def wire(number: int) -> bytes:
    """The bet of `row(number)` as the contract has it."""
    body = b"\x01\x03Ana\x03Paz" + str(30_000_000 + number).encode() + b"1999-03-17" + number.to_bytes(2)
    return len(body).to_bytes(2) + body


BETS = [wire(number) for number in range(1, 21)]
"""The bets of rows 1 to 20: what the files of most tests have."""
