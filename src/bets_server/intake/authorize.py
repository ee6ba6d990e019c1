"""Whether a request may be made: its values are good, and all that it is about is of the agency that makes it.

This is decided here and nowhere else. That a store refuses bets of another agency on an upload is the last line of
defence.
"""

from __future__ import annotations

from bets_protocol import BetBatch, EncodedBatch, InvalidFrame, OpenUpload, RejectCode, WinnersRequest
from bets_server.intake.identity import Holder
from bets_server.intake.requests import Binding, Refusal, Request

_OF_ANOTHER_AGENCY = Refusal(RejectCode.NOT_AUTHORIZED)


def refusal_of(request: Request, binding: Binding | None, holder: Holder | None) -> Refusal | None:
    """Why a request may not be made, or None.

    Args:
        binding: the upload of its session; None: it has none.
        holder: who has sent it; None: the peer was asked for no certificate, and may speak for any agency.
    """
    if isinstance(request, InvalidFrame):
        bad_bet = request.kind is BetBatch and binding is not None
        return Refusal(RejectCode.BAD_BET if bad_bet else RejectCode.BAD_FRAME, request.error.summary)
    if holder is not None and not _is_about(request, holder.agency):
        whom = "no agency" if holder.agency is None else f"agency {holder.agency} only"
        return Refusal(RejectCode.NOT_AUTHORIZED, f"the certificate speaks for {whom}")
    # Without certificates a client may name any agency, but one upload is of one agency.
    if binding is not None and not _is_about(request, binding.ticket.agency):
        return _OF_ANOTHER_AGENCY
    return None


def _is_about(request: Request, agency: int | None) -> bool:
    """Whether a request is about no agency but this one."""
    if isinstance(request, EncodedBatch):
        return all(run.agency == agency for run in request.runs)
    return not isinstance(request, OpenUpload | WinnersRequest) or request.agency == agency
