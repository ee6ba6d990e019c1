"""Whom a certificate speaks for.

An agency's certificate names it in exactly one URI, `urn:bets:agency:N`. One that names none, or several, lets its
holder probe the server and nothing else. What is held against it is the agency that stands in the messages: of an
upload, of a question for winners, and of every bet.

A list of pins narrows that: where there is one, only the certificates on it speak for their agency. Taking one off the
list and sending SIGHUP revokes it, for connections that are open, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bets_protocol import ConfigError, limits
from bets_protocol.cli.agency_uri import agency_of

if TYPE_CHECKING:
    from bets_protocol.transports import PeerCertificate

_PIN = re.compile(r"([0-9a-f]{64})\s+([1-9][0-9]{0,2})", re.ASCII)


@attrs.frozen(kw_only=True)
class Holder:
    """Who is at the other end, as a certificate proves it.

    Attributes:
        agency: the only one it may speak for; None: none.
        fingerprint: of the certificate, SHA-256, lower hexadecimal.
    """

    agency: int | None
    fingerprint: str


def holder_of(certificate: PeerCertificate, pins: Mapping[str, int] | None = None) -> Holder:
    """The holder of a certificate whose signature was checked.

    Args:
        pins: as from `read_pins`; None: every certificate of the CA is good.
    """
    agency = agency_of(certificate.uris[0]) if len(certificate.uris) == 1 else None
    if pins is not None and pins.get(certificate.fingerprint) != agency:
        agency = None
    return Holder(agency=agency, fingerprint=certificate.fingerprint)


def change_of_holder(holder: Holder | None, certificate: PeerCertificate | None, pins: Mapping[str, int] | None) -> str:
    """Why `holder` is no longer whom its certificate speaks for; empty: it is, or there is none.

    Args:
        pins: as they are now.
    """
    if holder is None or certificate is None or (agency := holder_of(certificate, pins).agency) == holder.agency:
        return ""
    return f"its certificate speaks for {'no agency' if agency is None else f'agency {agency}'} now"


def read_pins(path: Path) -> dict[str, int]:
    """The pins of a file: on each line a fingerprint (SHA-256, hexadecimal, colons allowed) and an agency.

    Empty lines and those that begin with `#` are passed over.

    Raises:
        ConfigError: it cannot be read, or a line is not so; names the file and the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: {reason}") from error
    pins: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().lower()
        if not text or text.startswith("#"):
            continue
        found = _PIN.fullmatch(text.replace(":", ""))
        if found is None or int(found[2]) > limits.MAX_AGENCY:
            raise ConfigError(
                f"{path}:{number}: expected 64 hexadecimal digits and an agency, 1 to {limits.MAX_AGENCY}"
            )
        if found[1] in pins:
            raise ConfigError(f"{path}:{number}: the fingerprint stands there twice")
        pins[found[1]] = int(found[2])
    return pins
