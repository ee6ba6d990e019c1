"""What a run of a command has open: closed once, and logged as what it is."""

from __future__ import annotations

import io
import logging

from bets_client.run_context import OpenThings
from bets_protocol.cli.log_format import EventLog, setup_logging


class Thing:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_all_is_closed_the_latest_first_and_logged_once() -> None:
    """Closing again, or closing something unknown, writes no second line."""
    stream = io.StringIO()
    opened = OpenThings(EventLog(setup_logging("DEBUG", stream)))
    file, connection, stranger = Thing(), Thing(), Thing()
    opened.add("file", file, file="a|b.csv")
    opened.add("connection", connection, client_id=1)
    opened.close_all(level=logging.INFO)
    opened.close_all()
    opened.close(file)
    opened.close(stranger)
    assert (file.closed, connection.closed, stranger.closed) == (2, 1, 1)
    assert [line[20:] for line in stream.getvalue().splitlines()] == [
        "INFO     action: close_connection | result: success | client_id: 1",
        "INFO     action: close_file | result: success | file: a\\x7cb.csv",
    ]
