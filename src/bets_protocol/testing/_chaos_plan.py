"""What a chaos proxy does to a connection, as data, and how a seed decides it."""

from __future__ import annotations

import random

import attrs


@attrs.frozen(kw_only=True)
class Way:
    """What happens to the bytes of one direction of a connection.

    Args:
        delay_s: seconds that everything takes.
        slice_bytes: the first bytes go on in pieces of this size; 0 does not slice.
        cut_at: when so many bytes have come, the connection ends; they still arrive. None: never.
        hole_at: after so many bytes everything vanishes, the end of the stream included. None: never.
        late: what vanishes comes out when the faults stop.
    """

    delay_s: float = 0.0
    slice_bytes: int = 0
    cut_at: int | None = None
    hole_at: int | None = None
    late: bool = False


@attrs.frozen(kw_only=True)
class Plan:
    """What happens to one connection.

    Args:
        reset: a cut is a reset for both ends, else an orderly end of the stream.
        close_delay_s: seconds that an end of the stream takes longer than bytes.
    """

    to_server: Way = Way()
    to_client: Way = Way()
    reset: bool = True
    close_delay_s: float = 0.0


@attrs.frozen(kw_only=True)
class Fault:
    """What was done to a connection: its number from 0 on, what, in which direction, after how many bytes."""

    connection: int
    what: str
    way: str
    at_byte: int

    def __str__(self) -> str:
        return f"connection {self.connection}: {self.what} {self.way} at byte {self.at_byte}"


def drawn_plan(seed: int, connection: int, *, most_bytes: int = 200_000) -> Plan:
    """The plan that `seed` gives a connection; two in ten get a harmless one.

    Args:
        most_bytes: no fault waits for a later byte.
    """
    source = random.Random(f"{seed}/{connection}")

    def moment() -> int:
        # Small numbers as likely as large ones: an answer of revision 9 has 18 bytes, an upload thousands.
        return int(most_bytes ** source.random())

    def way() -> Way:
        return Way(
            delay_s=source.choice([0.0, 0.0, 0.001, 0.01, 0.05]),
            slice_bytes=source.choice([0, 0, 0, 1, 2, 11]),
            cut_at=moment() if source.random() < 0.4 else None,
            hole_at=moment() if source.random() < 0.15 else None,
            late=source.random() < 0.5,
        )

    if source.random() < 0.2:
        return Plan()
    return Plan(
        to_server=way(),
        to_client=way(),
        reset=source.random() < 0.7,
        close_delay_s=source.choice([0.0, 0.0, 0.05, 0.2]),
    )
