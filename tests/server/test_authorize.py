"""Whether a request may be made: whose it must be, and how the refusal is said on each revision."""

from __future__ import annotations

import pytest

from bets_protocol import (
    Ack,
    BetRun,
    EncodedBatch,
    OpenUpload,
    Probe,
    RejectCode,
    UploadStatus,
    WinnersRequest,
)
from bets_server.intake.authorize import refusal_of
from bets_server.intake.identity import Holder
from bets_server.intake.requests import Binding, Close, Refusal, Reply, Request, refused
from bets_server.store import Ticket
from tests.server.wire import bet

BOUND = Binding(ticket=Ticket(upload=1, agency=5, epoch=1), draw=1, stored=3, crc32=9)
OF_UPLOAD = Refusal(RejectCode.NOT_AUTHORIZED, "the upload is of another agency")


def _batch(*agencies: int) -> EncodedBatch:
    runs = tuple(BetRun(agency=agency, count=1, encoded=bet(agency=agency)) for agency in agencies)
    return EncodedBatch(count=len(runs), runs=runs)


def _opening(agency: int) -> OpenUpload:
    return OpenUpload(agency=agency, draw=1, total=3, upload_id=bytes(16))


@pytest.mark.parametrize("binding", [None, BOUND])
@pytest.mark.parametrize("agency", [5, None])
def test_a_certificate_speaks_for_one_agency(binding: Binding | None, agency: int | None) -> None:
    """Or for none: then it may probe and nothing else."""
    holder = Holder(agency=agency, fingerprint="f" * 64)
    whom = "no agency" if agency is None else "agency 5 only"
    no = Refusal(RejectCode.NOT_AUTHORIZED, f"the certificate speaks for {whom}")
    foreign: list[Request] = [_batch(6), _batch(5, 6, 5), WinnersRequest(agency=6), _opening(6)]
    own: list[Request] = [_batch(5, 5), WinnersRequest(agency=5), _opening(5)]
    assert [refusal_of(request, binding, holder) for request in foreign] == [no] * 4
    assert [refusal_of(request, binding, holder) for request in own] == [None if agency else no] * 3
    assert refusal_of(Probe(line=b"x"), binding, holder) is None


def test_an_upload_is_of_one_agency() -> None:
    """Also where nobody has a certificate; without an upload, a client may name any agency then."""
    foreign: list[Request] = [_batch(6), _batch(5, 6), WinnersRequest(agency=6)]
    assert [refusal_of(request, BOUND, None) for request in foreign] == [OF_UPLOAD] * 3
    assert [refusal_of(request, None, None) for request in [*foreign, _opening(6)]] == [None] * 4
    assert [refusal_of(request, BOUND, None) for request in (_batch(5), WinnersRequest(agency=5))] == [None] * 2


def test_how_it_is_said() -> None:
    """By the code where the revision has one; else by Ack 0, or by the end of the connection."""
    code, why = OF_UPLOAD.code, OF_UPLOAD.reason
    for request in (_batch(6), WinnersRequest(agency=6)):
        assert refused(request, OF_UPLOAD, BOUND) == Reply(reply=BOUND.status(code), error=why, binding=BOUND)
    unopened = UploadStatus(code=code, draw=1, stored=0, crc32=0)
    assert refused(_opening(6), OF_UPLOAD, None) == Reply(reply=unopened, error=why)
    assert refused(_batch(6), OF_UPLOAD, None) == Reply(reply=Ack(count=0), error=why)
    assert refused(WinnersRequest(agency=6), OF_UPLOAD, None) == Close(error=why)
