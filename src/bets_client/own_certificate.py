"""Which agencies this client's own certificate names, read before a connection is made.

On revisions 7 and 8 a server that may not tell somebody the winners can only close the connection, which looks like any
other lost one and would be tried again until patience ends. So who may not ask is found out here.

Rule: only what a server would certainly refuse is refused. A certificate that names no agency in the way of docs/tls.md
may be good for a server that knows its clients in another way.
"""

from __future__ import annotations

import binascii
import re
from pathlib import Path

from bets_client.config import ClientSettings
from bets_client.errors import Refused
from bets_protocol.programs.agency_uri import agency_of

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)

_URI_HEAD = re.compile(rb"\x86(.)(?=urn:)", re.DOTALL)
"""What DER puts before a uniformResourceIdentifier (RFC 5280, section 4.2.1.6): tag 6 of its context, its length."""


def require_own_agency(settings: ClientSettings, agency: int) -> None:
    """Check that the certificate of the settings, if there is one, may speak for `agency`.

    Raises:
        Refused: it is of another agency, or of several.
    """
    if not settings.tls_cert:
        return
    named = named_agencies(Path(settings.tls_cert))
    if named and named != [agency]:
        raise Refused(
            f"{settings.server}: {settings.tls_cert} is the certificate of agency {', '.join(map(str, named))}: it may "
            f"not ask for the winners of agency {agency}; check --agency and --tls-cert"
        )


def named_agencies(path: Path) -> list[int]:
    """The agencies that the certificate at `path` names, each as often as it stands there.

    Empty as well where the file cannot be read: to say that is for who connects with it.

    Args:
        path: PEM; the first certificate counts, those behind it lead to its authority.
    """
    try:
        found = _PEM.search(path.read_bytes())
        encoded = binascii.a2b_base64(found[1]) if found is not None else b""
    except (OSError, ValueError):
        return []
    uris = [encoded[head.end() : head.end() + head[1][0]] for head in _URI_HEAD.finditer(encoded)]
    return [agency for uri in uris if (agency := agency_of(uri.decode("latin-1"))) is not None]
