"""Uploads that are opened again and again: counted where nothing is added to them, and only within a minute."""

from __future__ import annotations

import attrs

from bets_protocol import EncodedBatch, OpenUpload, RejectCode, UploadStatus
from bets_server.admission.reopenings import MAX_UPLOADS, WINDOW_S, Reopenings
from bets_server.intake.requests import Answer, Binding, Refusal, Reply, Request, Work
from bets_server.limits import Limits
from bets_server.store import Ticket
from tests.server.serving import Servers
from tests.server.wire import STATUS_BYTES, batch, bet, opening, status

FEW = Limits(reopenings_per_minute=3)
TOO_OFTEN = Refusal(RejectCode.BUSY, "the upload is opened again and again")


def _work(number: int = 1, *, request: Request | None = None) -> Work:
    """To open an upload."""
    what = request or OpenUpload(agency=1, draw=1, total=10, upload_id=number.to_bytes(16, "big"))
    return Work(session=1, peer="1.2.3.4", requests=(what,))


def _opened(*, stored: int = 0) -> list[Answer]:
    """The answer that says how far it is."""
    binding = Binding(ticket=Ticket(upload=1, agency=1, epoch=1), draw=1, stored=stored, crc32=0)
    return [Reply(reply=binding.status(RejectCode.OK), binding=binding)]


def test_openings_are_counted_for_a_minute() -> None:
    """One more than so many is one too many; of another upload it is the first."""
    reopenings = Reopenings(FEW)
    for second in range(4):
        assert reopenings.refusal(_work(), second) is None
        reopenings.note(_work(), _opened(), second)
    assert reopenings.refusal(_work(), 4.0) == TOO_OFTEN
    assert reopenings.refusal(_work(2), 4.0) is None
    assert reopenings.refusal(_work(), WINDOW_S - 0.1) == TOO_OFTEN
    assert reopenings.refusal(_work(), WINDOW_S) is None
    reopenings.note(_work(), _opened(), WINDOW_S)
    assert reopenings.refusal(_work(), WINDOW_S) is None


def test_upload_that_gets_on_is_opened_as_often_as_it_takes() -> None:
    """A client whose connection is cut behind each batch is no nuisance: its file ends."""
    reopenings = Reopenings(FEW)
    for stored in range(100):
        assert reopenings.refusal(_work(), 1.0) is None
        reopenings.note(_work(), _opened(stored=stored), 1.0)


def test_what_is_no_opening_counts_nowhere() -> None:
    """Neither a refused one nor another request."""
    reopenings = Reopenings(FEW)
    refused = [Reply(reply=UploadStatus(code=RejectCode.MISMATCH, draw=1, stored=0, crc32=0), error="another total")]
    batch = _work(request=EncodedBatch(count=0, runs=()))
    for _ in range(10):
        reopenings.note(_work(), refused, 1.0)
        reopenings.note(batch, _opened(), 1.0)
    assert reopenings.refusal(_work(), 1.0) is None
    assert reopenings.refusal(batch, 1.0) is None


def test_only_so_many_uploads_are_watched() -> None:
    """Of more, the oldest is forgotten."""
    reopenings = Reopenings(attrs.evolve(FEW, reopenings_per_minute=1))
    for _ in range(2):
        for number in range(MAX_UPLOADS):
            reopenings.note(_work(number), _opened(), 1.0)
    assert reopenings.refusal(_work(0), 1.0) == TOO_OFTEN
    reopenings.note(_work(MAX_UPLOADS), _opened(), 1.0)
    assert [reopenings.refusal(_work(number), 1.0) for number in (0, 1)] == [None, TOO_OFTEN]


def test_client_that_opens_its_upload_for_ever(serve: Servers) -> None:
    """It is told to come back later, which leaves no trace in the audit; a minute later it is served again."""
    now = [1000.0]
    server = serve(limits=FEW, clock=lambda: now[0])
    first = server.client()
    assert first.exchange(opening(2), batch(bet(0)), size=2 * STATUS_BYTES) == status(0) + status(0, bet(0))
    for _ in range(4):
        assert server.client().exchange(opening(2), size=STATUS_BYTES) == status(0, bet(0))
    again = server.client()
    again.send(opening(2))
    assert again.read_to_end() == status(RejectCode.BUSY, bet(0))
    assert [entry.event for entry in server.store.audit()] == ["open", *["reopen"] * 4]
    why = "the upload is opened again and again"
    assert server.logged(f"open_upload | result: fail | ip: 127.0.0.1 | agencia: 1 | total: 2 | error: {why}") == 1
    assert server.client().exchange(opening(2, name=b"b"), size=STATUS_BYTES) == status(0)
    now[0] += WINDOW_S
    assert server.client().exchange(opening(2), size=STATUS_BYTES) == status(0, bet(0))
