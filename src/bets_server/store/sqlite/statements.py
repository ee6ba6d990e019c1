"""The statements of a store that write many rows at once, each made once for a number of rows."""

from __future__ import annotations

import functools


def _rows(of: str, rows: int) -> str:
    return ", ".join([of] * rows)


@functools.cache
def anonymous_statement(rows: int) -> str:
    return f"INSERT INTO upload (id, draw, agency) VALUES {_rows('(?, ?, ?)', rows)}"


@functools.cache
def grow_statement(rows: int) -> str:
    """Moves uploads on: number, epoch, from where, to where, with which CRC-32."""
    values = _rows("(?, ?, ?, ?, ?)", rows)
    return (
        # Not WITH: Python counts the changed rows only of what begins with UPDATE.
        "UPDATE upload SET stored = growth.stop, crc32 = growth.crc32 FROM (SELECT column1 AS id, column2 AS epoch,"
        f" column3 AS start, column4 AS stop, column5 AS crc32 FROM (VALUES {values})) AS growth"
        " WHERE upload.id = growth.id AND upload.epoch = growth.epoch AND upload.stored = growth.start"
        " AND NOT upload.voided AND growth.stop <= coalesce(upload.total, growth.stop)"
    )


@functools.cache
def batch_statement(rows: int) -> str:
    return f"INSERT INTO batch (upload, first_row, count, bets) VALUES {_rows('(?, ?, ?, ?)', rows)}"


@functools.cache
def audit_statement(rows: int) -> str:
    return f"INSERT INTO audit (at, draw, event, agency, detail) VALUES {_rows('(?, ?, ?, ?, ?)', rows)}"
