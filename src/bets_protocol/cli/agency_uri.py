"""How a certificate names the agency that it speaks for: one URI among its alternative names, `urn:bets:agency:N`."""

from __future__ import annotations

import re
from typing import Final

from bets_protocol import limits

_PREFIX: Final = "urn:bets:agency:"
_NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)


def agency_uri(agency: int) -> str:
    """The URI of an agency."""
    return f"{_PREFIX}{agency}"


def agency_of(uri: str) -> int | None:
    """The agency that a URI names; None: none."""
    number = uri.removeprefix(_PREFIX)
    if number == uri or len(number) > len(str(limits.MAX_AGENCY)) or _NUMBER.fullmatch(number) is None:
        return None
    agency = int(number)
    return agency if agency <= limits.MAX_AGENCY else None
