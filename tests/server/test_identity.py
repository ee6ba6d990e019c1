"""Whom a certificate speaks for, and the list of those that are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from bets_protocol import ConfigError
from bets_protocol.transports import PeerCertificate
from bets_server.intake.identity import holder_of, read_pins

FINGERPRINT = "ab" * 32


def _certificate(*uris: str) -> PeerCertificate:
    return PeerCertificate(uris=uris, fingerprint=FINGERPRINT, not_after="2027-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("uris", "agency"),
    [
        (["urn:bets:agency:1"], 1),
        (["urn:bets:agency:255"], 255),
        (["urn:bets:agency:256"], None),
        (["urn:bets:agency:0"], None),
        (["urn:bets:agency:05"], None),
        (["urn:bets:agency:5 "], None),
        (["urn:bets:agency:\u0665"], None),
        (["URN:BETS:AGENCY:5"], None),
        (["urn:bets:agency:5", "urn:bets:agency:6"], None),
        (["urn:bets:agency:5", "https://example.org"], None),
        (["https://example.org"], None),
        ([], None),
    ],
)
def test_agency_of_a_certificate(uris: list[str], agency: int | None) -> None:
    """Exactly one URI, and that one names it; anything else speaks for nobody."""
    holder = holder_of(_certificate(*uris))
    assert (holder.agency, holder.fingerprint) == (agency, FINGERPRINT)


def test_pins_narrow_it() -> None:
    """Only what is listed speaks for its agency, and for that only."""
    certificate = _certificate("urn:bets:agency:5")
    assert holder_of(certificate, {FINGERPRINT: 5}).agency == 5
    assert holder_of(certificate, {FINGERPRINT: 6}).agency is None
    assert holder_of(certificate, {}).agency is None


def test_pins_are_read(tmp_path: Path) -> None:
    """Fingerprints as tools write them, comments, empty lines."""
    path = tmp_path / "pins"
    colons = ":".join(["AB"] * 32)
    path.write_text(f"# agencies\n\n{colons}  5\n{'cd' * 32}\t17\n")
    assert read_pins(path) == {FINGERPRINT: 5, "cd" * 32: 17}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("abc 5", ":1: expected 64 hexadecimal digits and an agency, 1 to 255"),
        (f"# x\n{FINGERPRINT}", ":2: expected 64 hexadecimal digits and an agency, 1 to 255"),
        (f"{FINGERPRINT} 256", ":1: expected 64 hexadecimal digits and an agency, 1 to 255"),
        (f"{FINGERPRINT} 5\n{FINGERPRINT.upper()} 6", ":2: the fingerprint stands there twice"),
    ],
)
def test_bad_pins(tmp_path: Path, text: str, error: str) -> None:
    """The error names the file and the line."""
    path = tmp_path / "pins"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_pins(path)
    assert str(caught.value) == f"{path}{error}"


def test_pins_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, and one that is no text."""
    with pytest.raises(ConfigError, match=f"{tmp_path}/nowhere: "):
        read_pins(tmp_path / "nowhere")
    path = tmp_path / "pins"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        read_pins(path)
