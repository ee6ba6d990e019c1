"""Recorded conversations of revisions 5 to 8: a server answers, byte for byte, what it always has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.serving import RawClient, Servers, wait_until
from tests.server.wire import WINNING

FOLDER = Path(__file__).parent.parent / "golden" / "transcripts"
TRANSCRIPTS = sorted(path.stem for path in FOLDER.glob("*.json"))


def _transcript(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_every_old_revision_has_transcripts() -> None:
    """So that a folder that was lost is noticed."""
    assert {_transcript(name)["revision"] for name in TRANSCRIPTS} == {5, 6, 7, 8}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_old_clients_hear_what_they_always_heard(serve: Servers, name: str) -> None:
    """Each answer in full, nothing before it and nothing behind it, and the end of the stream where it belongs."""
    transcript = _transcript(name)
    assert transcript["winning_number"] == WINNING
    revision = {"revision": transcript["revision"]} if transcript["revision"] in (5, 6) else {}
    server = serve(agencies=transcript["agencies"], **revision)
    clients: dict[str, RawClient] = {}
    for step in transcript["steps"]:
        client = clients.get(step["on"])
        if client is None:
            client = clients[step["on"]] = server.client()
        if "client" in step:
            client.send(bytes.fromhex(step["client"]))
            if step["client"].startswith("02") and len(step["client"]) == 4:
                agency = int(step["client"][2:], 16)
                wait_until(
                    lambda agency=agency: agency in server.store.state().sealed | {0},  # type: ignore[misc]
                    f"agency {agency} is sealed",
                )
        elif "server" in step:
            expected = bytes.fromhex(step["server"])
            assert client.read(len(expected)).hex() == step["server"]
        elif "client_ends" in step:
            client.stream.close_writing()
        else:
            assert client.read_to_end() == b""
