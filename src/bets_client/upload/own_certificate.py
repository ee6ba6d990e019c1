"""Reads which agencies this client's own certificate names, before a connection is made.

On the revisions 7 and 8 a server that refuses a request for winners can only close the connection, which the client
would make again until `--retry-for`. So the client checks its certificate first.
"""

from __future__ import annotations

import re

from bets_client.errors import Refused
from bets_client.run_context import RunContext
from bets_protocol import ConfigError
from bets_protocol.cli.agency_uri import agency_of
from bets_protocol.transports import TlsTransport

_URI_HEAD = re.compile(rb"\x86(.)(?=urn:)", re.DOTALL)
"""The head of a uniformResourceIdentifier in DER (RFC 5280, section 4.2.1.6): context tag 6, and its length."""


def require_own_agency(context: RunContext, agency: int) -> None:
    """Check that the certificate of the settings, if there is one, may speak for `agency`.

    Raises:
        Refused: it is of another agency, or of several.
    """
    transport = context.transports.get("tls")
    try:
        own = transport.own_certificate() if isinstance(transport, TlsTransport) else None
    except ConfigError:  # connecting will raise it
        return
    # Only what a server would certainly refuse is refused. A certificate that names no agency as in docs/tls.md may be
    # good for a server that identifies its clients in another way.
    named = [] if own is None else named_agencies(own.encoded)
    if own is not None and named and named != [agency]:
        raise Refused(
            f"{context.settings.server}: {own.path} is the certificate of agency {', '.join(map(str, named))}: it may "
            f"not ask for the winners of agency {agency}; check --agency and --tls-cert"
        )


def named_agencies(encoded: bytes) -> list[int]:
    """The agencies that a certificate names, with repetitions.

    Args:
        encoded: the certificate in DER form.
    """
    uris = [encoded[head.end() : head.end() + head[1][0]] for head in _URI_HEAD.finditer(encoded)]
    return [agency for uri in uris if (agency := agency_of(uri.decode("latin-1"))) is not None]
