"""What a group of messages means, against a real store: answers, their order, and when the draw takes place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bets_protocol import Ack, BetRun, EncodedBatch, InvalidFrame, Probe, ServerConnection, StorageError, Winners
from bets_protocol import WinnersRequest as Ask
from bets_server.intake.handlers import Handlers, answer_at_once, random_number
from bets_server.intake.requests import Answer, Close, GroupOutcome, Park, Reply, Request, Work
from bets_server.store import StoreFull, open_store
from bets_server.store.conformance.samples import append_to
from tests.server.serving import WatchedStore
from tests.server.wire import WINNING, batch, bet, document

PARKED = Park()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WatchedStore]:
    """A real store that counts."""
    with WatchedStore(open_store(f"csv:///{tmp_path}/bets.csv")) as store:
        yield store


def _handlers(store: WatchedStore, agencies: int = 1, pick: Callable[[], int] = lambda: WINNING) -> Handlers:
    return Handlers(store, agencies=agencies, pick=pick)


def _event(data: bytes) -> Request:
    """What a session makes of some bytes."""
    connection = ServerConnection(encoded=True)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, EncodedBatch | InvalidFrame | Probe | Ask)
    return event


def _batch(*rows: int, agency: int = 1, number: int = WINNING) -> Request:
    return _event(batch(*[bet(row, agency=agency, number=number) for row in rows]))


BAD = _event(batch(bet(number=10_000)))


def _work(session: int, *requests: Request) -> Work:
    return Work(session=session, peer="127.0.0.1", requests=requests)


def _answers(outcome: GroupOutcome) -> dict[int, list[Answer]]:
    return {session: list(answers) for session, answers in outcome.answers}


def test_a_group_is_one_transaction(store: WatchedStore) -> None:
    """Batches of all sessions go to the store in one call; each session gets its own answers, in order."""
    probe = Probe(line=b"x\n")
    outcome = _handlers(store).answer_group([_work(1, _batch(1), _batch(2, 3)), _work(2, BAD, _batch(4), probe)])
    assert store.groups == [3]
    answers = _answers(outcome)
    assert answers[1] == [Reply(reply=Ack(count=1)), Reply(reply=Ack(count=2))]
    refused = answers[2][0]
    assert isinstance(refused, Reply)
    assert refused.reply == Ack(count=0)
    assert refused.error.startswith("bets[0].number at byte ")
    assert answers[2][1:] == [Reply(reply=Ack(count=1)), Reply(reply=probe)]
    assert not outcome.drawn_now
    assert [each.document for each in store.bets()] == [document(row) for row in (1, 2, 3, 4)]


def test_no_batches_no_transaction(store: WatchedStore) -> None:
    """A group without any leaves the store alone."""
    assert _handlers(store).answer_group([_work(1, Probe(line=b"x\n"), BAD)]).answers[0][0] == 1
    assert store.groups == []


def test_the_draw_of_a_group(store: WatchedStore) -> None:
    """Who asks before the last one is parked, the last one has the answer; only this group drew."""
    handlers = _handlers(store, agencies=2)
    first = handlers.answer_group([_work(1, _batch(1), Ask(agency=1)), _work(2, _batch(2, agency=2), Ask(agency=2))])
    assert _answers(first) == {
        1: [Reply(reply=Ack(count=1)), PARKED],
        2: [Reply(reply=Ack(count=1)), Reply(reply=Winners(documents=(document(2),)))],
    }
    assert first.drawn_now
    again = handlers.answer_group([_work(1, Ask(agency=1)), _work(3, Ask(agency=7))])
    assert _answers(again) == {
        1: [Reply(reply=Winners(documents=(document(1),)))],
        3: [Reply(reply=Winners(documents=()))],
    }
    assert not again.drawn_now


def test_refused_by_the_store(store: WatchedStore) -> None:
    """Bets of a sealed agency, and bets after the draw: Ack 0 and why; others of the group are stored."""
    handlers = _handlers(store, agencies=2)
    handlers.answer_group([_work(1, Ask(agency=1))])
    outcome = handlers.answer_group([_work(1, _batch(1)), _work(2, _batch(2, agency=2))])
    assert _answers(outcome) == {
        1: [Reply(reply=Ack(count=0), error="the agency is sealed")],
        2: [Reply(reply=Ack(count=1))],
    }
    outcome = handlers.answer_group([_work(2, Ask(agency=2))])
    assert outcome.drawn_now
    outcome = handlers.answer_group([_work(2, _batch(3, agency=3))])
    assert _answers(outcome) == {2: [Reply(reply=Ack(count=0), error="the draw has taken place")]}


def test_no_room(store: WatchedStore) -> None:
    """Every batch of the group is refused, and a question has no answer; nothing else is wrong."""
    handlers = _handlers(store, agencies=2)
    store.failure, store.seal_failure = StoreFull("full"), StoreFull("full")
    outcome = handlers.answer_group([_work(1, _batch(1), Ask(agency=1)), _work(2, _batch(2))])
    full = Reply(reply=Ack(count=0), error="the store is full")
    unanswered = Close(error="the store is full")
    assert _answers(outcome) == {1: [full, unanswered], 2: [full]}
    assert handlers.answer_group([_work(1, _batch(1))]).answers == ((1, (Reply(reply=Ack(count=1)),)),)


def test_failed_store(store: WatchedStore) -> None:
    """What is on disk is unknown: no answers at all."""
    store.failure = StorageError("disk I/O error")
    with pytest.raises(StorageError, match="disk I/O error"):
        _handlers(store).answer_group([_work(1, _batch(1))])


@pytest.mark.parametrize(("count", "fits"), [(65_535, True), (65_536, False)])
def test_more_winners_than_an_answer_holds(tmp_path: Path, count: int, fits: bool) -> None:
    """One too many: no answer rather than a list that was cut."""
    encoded = b"".join(bet(row, number=WINNING, first_name=b"A", last_name=b"B") for row in range(count))
    with WatchedStore(open_store(f"sqlite:///{tmp_path}/bets.db")) as store:
        append_to(store, [[BetRun(agency=1, count=count, encoded=encoded)]])
        ((_, (answer,)),) = _handlers(store).answer_group([_work(1, Ask(agency=1))]).answers
    if fits:
        assert isinstance(answer, Reply)
        assert isinstance(answer.reply, Winners)
        assert answer.reply.documents == tuple(map(document, range(count)))
    else:
        assert answer == Close(error="65536 winners, a reply holds 65535")


def test_who_is_expected(store: WatchedStore) -> None:
    """The agencies 1 to N."""
    handlers = _handlers(store, agencies=3)
    assert [agency for agency in range(256) if handlers.expects(agency)] == [1, 2, 3]


def test_what_needs_no_store() -> None:
    """Refused frames and probes are answered at once, batches and questions are not."""
    assert answer_at_once(_work(1, _batch(1))) is None
    assert answer_at_once(_work(1, BAD, Ask(agency=1))) is None
    probe, (refused,) = answer_at_once(_work(1, Probe(line=b"x"))), answer_at_once(_work(1, BAD)) or [None]
    assert probe == (Reply(reply=Probe(line=b"x")),)
    assert isinstance(refused, Reply)
    assert refused.reply == Ack(count=0)
    assert "10000" not in refused.error  # what was found may be personal


def test_random_number() -> None:
    """Any number that can be bet on, and not always the same."""
    numbers = [random_number() for _ in range(200)]
    assert all(0 <= number <= 9999 for number in numbers)
    assert len(set(numbers)) > 100


def test_only_so_many_winners_are_kept(store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who asked last have theirs in memory; who asked before them is answered from the store, and as well."""
    monkeypatch.setattr("bets_server.intake.winners.MAX_DOCUMENTS_KEPT", 3)
    handlers = _handlers(store, agencies=3)
    handlers.answer_group([_work(agency, _batch(agency, agency + 10, agency=agency)) for agency in (1, 2, 3)])
    asked = [_work(agency, Ask(agency=agency)) for agency in (1, 2, 3)]
    for _ in range(2):
        handlers.answer_group(asked)
    before = store.asked
    for agency, read in ((3, 0), (2, 1), (2, 1), (1, 2), (2, 3)):
        (answer,) = _answers(handlers.answer_group([asked[agency - 1]]))[agency]
        assert answer == Reply(reply=Winners(documents=(document(agency), document(agency + 10))))
        assert store.asked - before == read
