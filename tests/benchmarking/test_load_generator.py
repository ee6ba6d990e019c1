"""The load generator against a real server: what the benchmarks measure with does what the existing clients do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.load.payload import Payload, write_payload
from benchmarks.processes import Program, agent_command, run_load, start
from bets_protocol import Bet
from bets_server.store import open_store

AGENCIES = 2
BETS = 300


def bets_of(agency: int) -> list[Bet]:
    """Bets of one agency, one in ten on the number that wins."""
    return [
        Bet(
            agency=agency,
            first_name="Ana",
            last_name="Paz",
            document=f"{agency}{row:07}",
            birthdate="1999-03-17",
            number=7574 if row % 10 == 0 else row,
        )
        for row in range(BETS)
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    """A server that waits for the agencies of this test."""
    command = [sys.executable, "-m", "bets_server", "serve", "--listen", "tcp://127.0.0.1:0"]
    with start([*command, "--log-level", "DEBUG", "--agencies", str(AGENCIES)], tmp_path) as program:
        yield program


def payloads_in(folder: Path) -> list[Payload]:
    """What the agencies send."""
    return [write_payload(folder / f"agency-{n}", n, bets_of(n)) for n in range(1, AGENCIES + 1)]


def test_every_bet_is_stored_and_the_winners_are_told(server: Program, tmp_path: Path) -> None:
    """Stop-and-wait on a connection a batch, then two times over with a window: all is stored, in order, and drawn."""
    payloads = payloads_in(tmp_path)
    port = server.port()
    one_by_one = run_load(server, port, payloads, command=agent_command("--reconnect"), ask=False)
    ahead = run_load(server, port, payloads, command=agent_command("--window", "2", "--repeat", "2"))
    assert [payload.frames for payload in payloads] == [3, 3]
    assert (one_by_one.batches, ahead.batches) == (2 * 3, 2 * 2 * 3)
    assert (one_by_one.winners, ahead.winners) == (0, 2 * 3 * BETS // 10)
    assert 0 < one_by_one.p50_ms <= one_by_one.p99_ms <= 1000 * one_by_one.upload_s
    server.process.terminate()
    assert server.process.wait(20) == 0
    with open_store(f"sqlite:///{tmp_path / 'bets.db'}", create=False) as store:
        assert list(store.bets(1)) == 3 * bets_of(1)


def test_a_refusal_ends_the_measurement(server: Program, tmp_path: Path) -> None:
    """An agency that is sealed is refused: that is an error with the reason, not a time."""
    payloads = payloads_in(tmp_path)
    port = server.port()
    run_load(server, port, payloads, command=agent_command())
    with pytest.raises(RuntimeError, match="expected the acknowledgement of 130 bets"):
        run_load(server, port, payloads, command=agent_command())
