"""The golden files: bytes written by hand from the protocol's page, which this library must read and write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

import bets_protocol
from bets_protocol import DecodeError, InvalidValue, decode, encode
from bets_protocol.codec import CODECS

FOLDER = Path(__file__).resolve().parent.parent / "golden"

CASES = {
    5: """ack-refused ack-stored bet bet-accents bet-longest bet-shortest refused-30-february refused-agency-0
        refused-bad-utf8 refused-document-with-letter refused-empty-name refused-length-24 refused-length-534
        refused-length-one-long refused-length-one-short refused-name-past-the-end refused-nul-in-name
        refused-number-10000 refused-trailing-byte refused-week-date""",
    6: """ack-refused ack-stored batch-one-bet batch-two-bets refused-count-0 refused-count-too-large
        refused-count-too-small""",
    7: "ack-refused ack-stored bet-batch probe probe-unended winners winners-none winners-request",
    8: """ack-refused ack-stored bet-batch bet-batch-255-bets bet-batch-8192-bytes probe probe-1024-bytes
        probe-unended refused-8193-bytes refused-agency-0 refused-bet-cut-short refused-document
        refused-framing-behind-value refused-leap-day-of-1900 refused-probe-1025-bytes refused-trailing-byte
        refused-type-4 winners winners-none winners-request""",
    9: """bet-batch open-upload open-upload-largest probe probe-unended refused-code-17 refused-version-2 upload-status
        upload-status-drawn winners winners-none winners-request""",
}
NAMES = [f"revision-{revision}/{name}" for revision, names in CASES.items() for name in names.split()]


def case(name: str) -> tuple[dict[str, Any], bytes]:
    """What the JSON file says, and the bytes."""
    path = FOLDER / name
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), path.with_suffix(".bin").read_bytes()


def as_json(value: Any) -> Any:
    """A message as the golden files write it."""
    match value:
        case bytes():
            return {"hex": value.hex()}
        case tuple():
            return [as_json(part) for part in value]
        case str() | int():
            return value
        case _:
            return {field.name: as_json(getattr(value, field.name)) for field in attrs.fields(type(value))}


def test_the_folder_holds_these_files_and_no_others() -> None:
    """Every case has its two files, and no file lies there that no test reads."""
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    found = {name for name in found if not name.startswith("transcripts/")}  # replayed by the tests of the server
    assert {"README.md", *(f"{name}{suffix}" for name in NAMES for suffix in (".bin", ".json"))} == found


@pytest.mark.parametrize("name", NAMES)
def test_golden_bytes_mean_what_their_description_says(name: str) -> None:
    """Accepted ones decode to the message and are encoded again byte for byte; the others are refused as described."""
    about, data = case(name)
    kind = getattr(bets_protocol, about["message"])
    revision = about["revision"]
    assert name.startswith(f"revision-{revision}/")
    assert ("verdict" in about) == ("fields" not in about) == ("/refused-" in name)
    if "fields" in about:
        message = decode(kind, data, revision=revision)
        assert about["fields"] == as_json(message)
        assert data == encode(message, revision=revision)
        return
    with pytest.raises({"framing": DecodeError, "value": InvalidValue}[about["verdict"]]) as raised:
        decode(kind, data, revision=revision)
    assert (about["path"], about["offset"]) == (raised.value.path, raised.value.offset)


def test_every_message_of_every_revision_has_a_golden_file() -> None:
    """No kind of frame of any revision is without an accepted example, and the sender is the one of the schema."""
    shown = {}
    for name in NAMES:
        about, _ = case(name)
        if "fields" in about:
            shown[about["message"], about["revision"]] = about["sender"]
    declared = {
        (codec.frame.class_name, revision): codec.frame.sender
        for codec in CODECS.values()
        for revision in codec.frame.revisions
    }
    assert declared == shown
