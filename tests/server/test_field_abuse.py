"""Fields that mean harm, to every kind of store: the same verdict on each, and a log of one line for each event.

What each answer is for revision 8 stands in `test_reactor_bad_input`; here are revision 9, both stores, and values that
keep the rules and are odd nevertheless.
"""

from __future__ import annotations

import pytest

from bets_protocol import RejectCode
from tests.server.bad_frames import FRAMING, GOOD, VALUES
from tests.server.serving import RawClient, Server, Servers
from tests.server.wire import ACK_0, STATUS_BYTES, batch, bet, document, opening, status

STORES = ["csv", "sqlite"]

MORE_VALUES = {
    "CR in a name": bet(first_name=b"Ana\r"),
    "CR LF and a line": bet(last_name=b"Paz\r\n2026-11-23 00:00:00 INFO     action: sorteo | result: success"),
    "NUL at the end": bet(last_name=b"Paz\x00"),
    "a bell": bet(first_name=b"\x07"),
    "NEL": bet(last_name="Paz\x85".encode()),
    "birthdate of Arabic digits": bet(birthdate="٢٠٢٠٢".encode()),
    "document of NUL bytes": bet(document_bytes=b"\x00" * 8),
    "document with a sign": bet(document_bytes=b"+0904465"),
    "document with an underscore": bet(document_bytes=b"3_904465"),
    "a date with signs": bet(birthdate=b"-999-03-17"),
    "a date with blanks": bet(birthdate=b"1999- 3-17"),
    "a date by days": bet(birthdate=b"1999-076  "),
    "31 April": bet(birthdate=b"2001-04-31"),
    "day 0": bet(birthdate=b"2001-04-00"),
}

ODD = {
    "right to left": "\u202eזפ\u202c",
    "isolates": "\u2066x\u2069",
    "line and paragraph ends of Unicode": "a\u2028b\u2029c",
    "a byte order mark": "\ufeffAna",
    "no width": "a\u200bb",
    "pipes": "| action: sorteo | result: success |",
    "quotes": '"An\'a"',
    "commas": ",,,",
    "a formula": "=1+1",
    "SQL": "'); DROP TABLE bet; --",
    "blanks": "   ",
    "beyond the first plane": "\U0001f3b2" * 63,
    "the longest": "x" * 255,
    "a percent sign": "%s%n{0}",
    "unassigned": "\U0010ffff",
}
"""Names that nobody has, and that break no rule."""


@pytest.mark.parametrize("store", STORES)
def test_abused_values(serve: Servers, store: str) -> None:
    """Ack 0 for each, on one connection, and a line without what was found; sound bets between them are stored."""
    server = serve(agencies=1, store=store)
    client = server.client()
    abuses = [*VALUES.values(), *MORE_VALUES.values()]
    for row, bad in enumerate(abuses):
        assert client.exchange(batch(bet(row), bad), batch(bet(row)), size=2) == ACK_0 + b"\x01"
    assert server.stored == [document(row) for row in range(len(abuses))]
    assert server.logged("apuesta_recibida | result: fail | cantidad: 2 | error: bets[1].") == len(abuses)
    # Its connection, and for each abuse the refusal, the bet that was stored, and its batch.
    assert len(server.raw_log.splitlines()) == 1 + 3 * len(abuses)


@pytest.mark.parametrize("store", STORES)
def test_odd_values(serve: Servers, store: str) -> None:
    """What keeps the rules is stored as it came, and no log line has it."""
    server = serve(agencies=1, store=store)
    sent = [bet(row, first_name=name.encode(), last_name=name.encode()) for row, name in enumerate(ODD.values())]
    client = server.client()
    for one in sent:
        assert client.exchange(batch(one)) == b"\x01"
    assert [stored.first_name for stored in server.store.bets()] == list(ODD.values())
    assert [stored.last_name for stored in server.store.bets()] == list(ODD.values())
    assert len(server.raw_log.splitlines()) == 1 + 2 * len(sent)
    assert "DROP" not in server.raw_log


def _uploading(server: Server) -> RawClient:
    """A client whose upload has one bet on disk, stored now or before."""
    client = server.client()
    if not server.stored:
        answers = status(0) + status(0, GOOD)
        assert client.exchange(opening(10), batch(GOOD), size=len(answers)) == answers
    else:
        assert client.exchange(opening(10), size=STATUS_BYTES) == status(0, GOOD)
    return client


@pytest.mark.parametrize("store", STORES)
def test_abused_values_on_revision_9(serve: Servers, store: str) -> None:
    """Code 2, and the end; what came before is told, nothing of the batch is stored, nor of what follows it."""
    server = serve(agencies=1, store=store)
    for name, bad in {**VALUES, **MORE_VALUES}.items():
        client = _uploading(server)
        client.send(batch(bet(2), bad), batch(bet(3)))
        assert client.read_to_end() == status(RejectCode.BAD_BET, GOOD), name
    assert server.stored == [document(1)]


SHORT = bet(1, first_name=b"A", last_name=b"B")
COUNTS = {
    "count 255 and two bets": b"\x01\xff" + SHORT * 2,
    "count 255, beyond 8192 bytes": b"\x01\xff" + GOOD * 255,
    "count 1 and no bet": b"\x01\x01",
}
"""Counts that lie."""


@pytest.mark.parametrize("store", STORES)
def test_lies_about_lengths_on_revision_9(serve: Servers, store: str) -> None:
    """Code 1, and the end; what came before is told, nothing else is stored."""
    server = serve(agencies=1, store=store)
    for name, lie in {**FRAMING, **COUNTS}.items():
        assert _uploading(server).send_and_end(lie) == status(RejectCode.BAD_FRAME, GOOD), name
    assert server.stored == [document(1)]


def test_lies_about_counts_on_revision_8(serve: Servers) -> None:
    """Ack 0, and the end; what stands behind the number of bets that was named is no bet."""
    server = serve(agencies=1)
    answers = {name: server.client().send_and_end(lie) for name, lie in COUNTS.items()}
    assert answers == dict.fromkeys(COUNTS, ACK_0)
    assert server.stored == []
    assert server.client().send_and_end(b"\x01\x01" + SHORT + SHORT[:-1]) == b"\x01" + ACK_0
    assert server.stored == [document(1)]


def test_the_most_bets_that_a_batch_can_name(serve: Servers) -> None:
    """255 short ones are sound."""
    server = serve(agencies=1)
    assert server.client().exchange(batch(*[SHORT] * 255)) == b"\xff"
    assert len(server.stored) == 255
