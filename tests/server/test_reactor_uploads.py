"""A running server and uploads of revision 9: what is answered to whom, who is let go, and what is on disk then."""

from __future__ import annotations

from typing import Any

import pytest

from bets_protocol import RejectCode
from bets_server.store import SealOutcome, StoreFull
from tests.server.serving import Servers, opened, wait_until
from tests.server.wire import STATUS_BYTES, WINNING, ask, batch, bet, document, opening, status, winners


def test_from_the_first_bet_to_the_winners(serve: Servers) -> None:
    """Everything sent ahead, answered in order; the question at once, and the draw behind it."""
    server = serve(agencies=2)
    bets = [bet(row, number=WINNING if row == 2 else 1) for row in range(4)]
    client = opened(server, 4)
    client.send(batch(*bets[:1]), batch(*bets[1:]), ask(1))
    assert client.read(3 * STATUS_BYTES) == status(0, bets[0]) + status(0, *bets) * 2
    assert server.store.state().sealed == {1}
    assert client.pending is None
    other = opened(server, 1, agency=2)
    other.send(batch(bet(9, agency=2)), ask(2))
    theirs = status(0, bet(9, agency=2)) + status(16, bet(9, agency=2)) + winners()
    assert other.read(len(theirs)) == theirs
    mine = status(16, *bets) + winners(document(2))
    assert client.read(len(mine)) == mine
    assert client.exchange(ask(1), size=len(mine)) == mine
    assert server.stored == [document(row) for row in (0, 1, 2, 3, 9)]


@pytest.mark.parametrize("scheme", ["tcp", "unix", "memory"])
def test_an_upload_is_resumed_where_it_was(serve: Servers, scheme: str) -> None:
    """The next connection is told what is on disk, and goes on from there."""
    server = serve(scheme=scheme)
    first = opened(server, 3)
    assert first.exchange(batch(bet(0), bet(1)), size=STATUS_BYTES) == status(0, bet(0), bet(1))
    first.close()
    second = server.client()
    assert second.exchange(opening(3), size=STATUS_BYTES) == status(0, bet(0), bet(1))
    assert second.exchange(batch(bet(2)), size=STATUS_BYTES) == status(0, bet(0), bet(1), bet(2))
    assert server.stored == [document(row) for row in range(3)]


def test_a_newer_connection_ends_the_older_one(serve: Servers) -> None:
    """The older one is told so unasked, and let go."""
    server = serve()
    old = opened(server, 3)
    assert old.exchange(batch(bet(0)), size=STATUS_BYTES) == status(0, bet(0))
    new = server.client()
    assert new.exchange(opening(3), size=STATUS_BYTES) == status(0, bet(0))
    assert old.read_to_end() == status(RejectCode.FENCED, bet(0))
    assert new.exchange(batch(bet(1), bet(2)), size=STATUS_BYTES) == status(0, bet(0), bet(1), bet(2))


def test_what_an_older_connection_sends_late_is_not_stored(serve: Servers) -> None:
    """Its batch is parsed and waits while a newer connection is told `stored`: it lands nowhere."""
    server = serve()
    old = opened(server, 3)
    server.store.gate.clear()
    blocker = server.client()
    blocker.send(batch(bet(7, agency=7)))
    assert server.store.inside.wait(20)
    new = server.client()
    new.send(opening(3))
    wait_until(lambda: server.reactor.connections().count(1) == 2, "the server has read who opens")
    old.send(batch(bet(0)), batch(bet(1)))
    server.store.gate.set()
    told = new.read(STATUS_BYTES)
    # Both were in one group, where batches come first; what counts is that the newer one was told the truth.
    assert told in (status(0), status(0, bet(0)), status(0, bet(0), bet(1)))
    assert old.read_to_end().endswith(status(RejectCode.FENCED, *[bet(0), bet(1)][: told[13]]))
    assert new.exchange(batch(bet(told[13])), size=STATUS_BYTES)[1] == 0


def test_two_clients_that_wait_for_the_same_winners(serve: Servers) -> None:
    """The second run of a finished command takes the place of the first, also while it waits."""
    server = serve(agencies=2)
    first = opened(server, 1)
    first.send(batch(bet(0)), ask(1))
    assert first.read(2 * STATUS_BYTES) == status(0, bet(0)) * 2
    second = server.client()
    assert second.exchange(opening(1), ask(1), size=2 * STATUS_BYTES) == status(0, bet(0)) * 2
    assert first.read_to_end() == status(RejectCode.FENCED, bet(0))


def test_asked_before_the_agency_is_complete(serve: Servers) -> None:
    """INCOMPLETE as long as one upload is; the agency is not sealed, and may ask again on the same connection."""
    server = serve()
    done, late = opened(server, 1), opened(server, 2, name=b"b")
    assert done.exchange(batch(bet(0)), size=STATUS_BYTES) == status(0, bet(0))
    for _ in range(2):
        assert done.exchange(ask(1), size=STATUS_BYTES) == status(RejectCode.INCOMPLETE, bet(0))
    assert server.store.state().sealed == frozenset()
    # On revision 8 there is no word for it: the client is let go, and asks again as after any lost connection.
    assert server.client().send_and_end(ask(1)) == b""
    assert late.exchange(batch(bet(1), bet(2)), size=STATUS_BYTES) == status(0, bet(1), bet(2))
    assert done.exchange(ask(1), size=STATUS_BYTES) == status(RejectCode.DRAWN, bet(0))


def test_who_waits_is_told_that_the_server_lives(serve: Servers) -> None:
    """Every 30 seconds, on revision 9; an older client hears nothing before its winners."""
    now = [1000.0]
    server = serve(agencies=3, clock=lambda: now[0])
    client = opened(server, 1)
    client.send(batch(bet(0)), ask(1))
    assert client.read(2 * STATUS_BYTES) == status(0, bet(0)) * 2
    old = server.client()
    old.send(ask(2))
    wait_until(lambda: server.store.state().sealed == {1, 2}, "both have asked")
    for _ in range(2):
        now[0] += 31
        server.reactor.wake()
        assert client.read(STATUS_BYTES) == status(0, bet(0))
    assert old.pending is None


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (batch(bet(1), bet(2, agency=2)), RejectCode.NOT_AUTHORIZED),
        (batch(bet(1, number=10_000)), RejectCode.BAD_BET),
        (b"\x04", RejectCode.BAD_FRAME),
        (opening(4), RejectCode.BAD_FRAME),
        (batch(bet(1), bet(2), bet(3), bet(4)), RejectCode.OVERRUN),
        (ask(2), RejectCode.NOT_AUTHORIZED),
        (b"\x02\x00", RejectCode.BAD_FRAME),
    ],
)
def test_the_first_refusal_ends_the_connection(serve: Servers, bad: bytes, code: RejectCode) -> None:
    """What is sent behind it is not looked at, and the answer says what is on disk."""
    server = serve(agencies=2)
    client = opened(server, 4)
    client.send(batch(bet(0)), bad, batch(bet(1)), batch(bet(2)))
    assert client.read_to_end() == status(0, bet(0)) + status(code, bet(0))
    assert server.stored == [document(0)]
    assert server.store.state().sealed == frozenset()
    again = server.client()
    assert again.exchange(opening(4), size=STATUS_BYTES) == status(0, bet(0))


def test_bad_values_sent_ahead_are_answered_once(serve: Servers) -> None:
    """Two bad batches behind each other: one refusal, then the end."""
    client = opened(serve(), 4)
    client.send(batch(bet(1, number=10_000)), batch(bet(1, number=10_000)))
    assert client.read_to_end() == status(RejectCode.BAD_BET)


@pytest.mark.parametrize(
    "frame",
    [b"\x03\x02" + opening(4)[2:], opening(4, agency=1)[:2] + b"\x00" + opening(4)[3:]],
    ids=["another version", "agency 0"],
)
def test_an_opening_that_breaks_the_protocol(serve: Servers, frame: bytes) -> None:
    """A status, since whoever says it understands no Ack."""
    server = serve()
    assert server.client().send_and_end(frame) == status(RejectCode.BAD_FRAME, draw=0)
    assert server.store.uploads() == []


def test_an_opening_that_is_refused(serve: Servers) -> None:
    """Each for its reason, and the connection ends."""
    server = serve(agencies=3)
    assert server.client().exchange(batch(bet(0, agency=2))) == b"\x01"
    client = opened(server, 1)
    assert server.client().send_and_end(opening(1, draw=2)) == status(RejectCode.WRONG_DRAW)
    assert server.client().send_and_end(opening(2)) == status(RejectCode.MISMATCH)
    assert server.client().send_and_end(opening(1, agency=2)) == status(RejectCode.MODE_CONFLICT)
    assert client.exchange(batch(bet(0)), ask(1), size=2 * STATUS_BYTES) == status(0, bet(0)) * 2
    assert server.client().send_and_end(opening(1, name=b"b")) == status(RejectCode.SEALED)
    server.client().send(ask(2))
    server.client().send(ask(3))
    wait_until(lambda: server.store.state().drawn, "the draw")
    assert server.client().send_and_end(opening(1, name=b"c", agency=3)) == status(RejectCode.DRAW_CLOSED)


def test_an_agency_with_uploads_sends_nothing_without(serve: Servers) -> None:
    """Revision 8 is told 0: certainly nothing was stored."""
    server = serve(agencies=2)
    opened(server, 2)
    assert server.client().exchange(batch(bet(0))) == b"\x00"
    assert server.client().exchange(batch(bet(0, agency=2))) == b"\x01"
    assert server.stored == [document(0)]


def test_a_complete_upload_is_found_complete_for_ever(serve: Servers) -> None:
    """Also after the draw: a client that was started again gets its winners."""
    server = serve()
    client = opened(server, 1)
    client.send(batch(bet(0, number=WINNING)), ask(1))
    stored = bet(0, number=WINNING)
    end = status(16, stored) + winners(document(0))
    assert client.read(STATUS_BYTES + len(end)) == status(0, stored) + end
    for _ in range(2):
        again = server.client()
        assert again.exchange(opening(1), ask(1), size=STATUS_BYTES + len(end)) == status(0, stored) + end


def test_a_full_store_refuses_and_goes_on(serve: Servers) -> None:
    """STORE_FULL for a batch and for an opening, with what is stored; nothing is added, and the next try succeeds."""
    server = serve()
    client = opened(server, 2)
    server.store.failure = StoreFull("no room")
    client.send(batch(bet(0)), batch(bet(1)))
    assert client.read_to_end() == status(RejectCode.STORE_FULL)
    again = server.client()
    assert again.exchange(opening(2), size=STATUS_BYTES) == status(0)
    assert again.exchange(batch(bet(0), bet(1)), size=STATUS_BYTES) == status(0, bet(0), bet(1))
    server.store.open_failure = StoreFull("no room")
    refused = server.client()
    refused.send(opening(2))
    assert refused.read_to_end() == status(RejectCode.STORE_FULL, bet(0), bet(1))


def test_who_has_an_upload_open_is_told_of_the_stop(serve: Servers) -> None:
    """SHUTTING_DOWN to those that are idle and those that wait, so that they come back."""
    server = serve(agencies=2)
    idle, waits = opened(server, 2), opened(server, 1, agency=2)
    waits.send(batch(bet(0, agency=2)), ask(2))
    assert waits.read(2 * STATUS_BYTES) == status(0, bet(0, agency=2)) * 2
    server.reactor.stop()
    assert idle.read_to_end() == status(RejectCode.SHUTTING_DOWN)
    assert waits.read_to_end() == status(RejectCode.SHUTTING_DOWN, bet(0, agency=2))


def test_what_an_operator_closes_is_drawn(serve: Servers) -> None:
    """An agency that will not come is closed by force: whoever waits is answered."""
    server = serve(agencies=2)
    client = opened(server, 1)
    client.send(batch(bet(0)), ask(1))
    assert client.read(2 * STATUS_BYTES) == status(0, bet(0)) * 2
    assert server.handlers.close_without(2).drawn_now
    server.reactor.draw_took_place()
    assert client.read(STATUS_BYTES + 2) == status(16, bet(0)) + winners()


def test_a_draw_between_an_ask_and_its_answer_is_not_missed(serve: Servers) -> None:
    """An operator brings it about while the answer "not yet" is on its way: who asked is answered all the same."""
    server = serve(agencies=2)
    client = opened(server, 1)
    seal = server.store.seal_and_draw

    def seal_and_be_overtaken(agency: int, **options: Any) -> SealOutcome:
        outcome = seal(agency, **options)
        if not options.get("forced"):
            assert server.handlers.close_without(2).drawn_now
            server.reactor.draw_took_place()
            wait_until(lambda: server.logged("sorteo") == 1, "the reactor has heard of the draw")
        return outcome

    server.store.seal_and_draw = seal_and_be_overtaken  # type: ignore[method-assign]  # to be in between
    client.send(batch(bet(0)), ask(1))
    end = status(16, bet(0)) + winners()
    assert client.read(2 * STATUS_BYTES + len(end)) == status(0, bet(0)) * 2 + end
