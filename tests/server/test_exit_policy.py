"""A server with `--exit-after-draw` that is started after its draw: whom it waits for, and that it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from bets_protocol.cli.exit_codes import ExitCode
from bets_server.store import open_store
from tests.server.serving import ROOMY, Clock, Server
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, winners


class LateServer(Server):
    """A server whose store has drawn for three agencies before it was started."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        with open_store(f"csv:///{folder}/bets") as store:
            for agency in (1, 2, 3):
                store.seal_and_draw(agency, expected=3, pick=lambda: WINNING)
        super().__init__(
            folder,
            agencies=3,
            exit_after_draw=True,
            clock=self.clock,
            limits=attrs.evolve(ROOMY, first_message_timeout_s=10_000, idle_timeout_s=10_000, after_draw_timeout_s=60),
        )
        assert self.serving  # so its time has begun

    def pass_s(self, seconds: float) -> None:
        """Time passes, and the server is told so."""
        self.clock.now += seconds
        self.reactor.wake()

    def ask(self, agency: int) -> None:
        """An agency comes, has its winners, and leaves."""
        assert self.client().send_and_end(ask(agency)) == winners()

    @property
    def serving(self) -> bool:
        """Whether it goes on; asked twice, since the first may have come in before it ended."""
        return [self.client().send_and_end(b"ping\n") for _ in range(2)] == [b"ping\n"] * 2


@pytest.fixture
def late(tmp_path: Path) -> Iterator[LateServer]:
    """It runs until the test ends, unless it has ended by itself."""
    with contextlib.closing(LateServer(tmp_path)) as server:
        yield server


def test_ends_when_all_have_their_winners(late: LateServer) -> None:
    """At once, whatever time it is; and says at the start that it will."""
    assert late.lines[0] == "exit_after_draw | result: in_progress | timeout: 60"
    for agency in (2, 1):
        late.ask(agency)
        assert late.serving
    late.ask(3)
    assert late.finished() == ExitCode.DONE
    assert late.logged("sorteo") == 0


def test_ends_when_nobody_asks(late: LateServer) -> None:
    """Probes and those who say nothing change nothing."""
    probing, _silent = late.client(), late.client()
    late.pass_s(59)
    assert probing.exchange(b"ping\n", size=5) == b"ping\n"
    assert late.serving
    late.pass_s(1)
    assert late.finished() == ExitCode.DONE


def test_time_begins_anew_with_each_agency_that_has_its_winners(late: LateServer) -> None:
    """With each that had none: one that asks again and again keeps nobody waiting."""
    late.pass_s(59)
    late.ask(1)
    late.pass_s(59)
    late.ask(1)
    late.ask(7)  # none of the three, but an agency
    late.pass_s(59)
    late.ask(1)
    assert late.serving
    late.pass_s(1)
    assert late.finished() == ExitCode.DONE


def test_agency_that_is_connected_and_has_not_asked_yet_is_waited_for(late: LateServer) -> None:
    """As long as the connection lasts; then for those that may come."""
    agency, leaving = late.client(), late.client()
    for number, client in ((1, agency), (2, leaving)):
        assert client.exchange(batch(bet(1, agency=number)), size=len(ACK_0)) == ACK_0
    for _ in range(3):
        late.pass_s(60)
        assert late.serving
    assert agency.exchange(ask(1), size=2) == winners()
    late.pass_s(60)
    assert late.serving
    leaving.close()
    late.pass_s(60)
    assert late.finished() == ExitCode.DONE
