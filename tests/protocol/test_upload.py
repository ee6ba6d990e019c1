"""One upload of revision 9: every code in every phase, the window, lost connections anywhere, against a tiny server."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol import (
    Bet,
    BetRun,
    OpenUpload,
    ReadError,
    RejectCode,
    SequenceError,
    SourceChanged,
    UploadRefused,
    UploadStatus,
    Winners,
    WinnersRequest,
    decode_bets,
    encode_bets,
)
from bets_protocol.connection import upload as module
from bets_protocol.connection.turns import CLIENT_ACTIONS, ENDING_CODES
from bets_protocol.connection.upload import Upload
from bets_protocol.encoded import encoded_batches, split_bets

UPLOAD_ID = bytes(range(16))
STOPS = [
    RejectCode.BAD_FRAME,
    RejectCode.BAD_BET,
    RejectCode.NOT_AUTHORIZED,
    RejectCode.FENCED,
    RejectCode.MISMATCH,
    RejectCode.OVERRUN,
    RejectCode.SEALED,
    RejectCode.DRAW_CLOSED,
    RejectCode.WRONG_DRAW,
    RejectCode.MODE_CONFLICT,
]
RECONNECTS = [RejectCode.BUSY, RejectCode.STORE_FULL, RejectCode.LIMIT, RejectCode.SHUTTING_DOWN]


def bet(number: int) -> Bet:
    return Bet(
        agency=3,
        first_name="Ana",
        last_name="Paz",
        document=str(30_000_000 + number),
        birthdate="1999-03-17",
        number=number,
    )


def crc(bets: Sequence[Bet]) -> int:
    return zlib.crc32(encode_bets(bets))


class Rows:
    """A source of bets in batches of `size`; counts how often it is read from its start."""

    def __init__(self, bets: Sequence[Bet], size: int = 2) -> None:
        self.bets = list(bets)
        self.size = size
        self.readings = 0

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        self.readings += 1
        if row > len(self.bets):
            raise ReadError("too short")
        return crc(self.bets[:row]), encoded_batches(
            split_bets(encode_bets(self.bets[row:])), agency=3, max_amount=self.size
        )


BETS = [bet(number) for number in range(10)]


def machine(*, bets: Sequence[Bet] = BETS, window: int = 16, ask: bool = True) -> tuple[Upload, Rows]:
    rows = Rows(bets)
    made = Upload(agency=3, draw=7, total=len(bets), upload_id=UPLOAD_ID, source=rows, window=window, ask=ask)
    return made, rows


def status(code: RejectCode, stored: int = 0, crc32: int | None = None) -> UploadStatus:
    return UploadStatus(code=code, draw=7, stored=stored, crc32=crc(BETS[:stored]) if crc32 is None else crc32)


def ok(stored: int) -> UploadStatus:
    return status(RejectCode.OK, stored)


def opened(stored: int = 0, **options: int) -> tuple[Upload, Rows]:
    """A machine whose opening was answered with `stored`."""
    made, rows = machine(**options)  # type: ignore[arg-type]
    made.connected()
    assert isinstance(made.next_message(), OpenUpload)
    made.answered(ok(stored))
    return made, rows


def asking() -> Upload:
    """A machine that has asked for the winners."""
    made, _ = opened(10)
    assert made.next_message() == WinnersRequest(agency=3)
    return made


def sent(made: Upload) -> list[int]:
    """The numbers that were bet on in each batch that may go now."""
    numbers = []
    while isinstance(message := made.next_message(), BetRun):
        numbers.append(decode_bets(message.encoded)[0].number)
    assert message is None
    return numbers


def test_an_upload_without_faults() -> None:
    """Open, all batches, the question, the seal, heartbeats, the draw, the winners: then nothing is left to do."""
    made, rows = machine()
    assert made.next_message() is None
    made.connected()
    assert made.next_message() == OpenUpload(agency=3, draw=7, total=10, upload_id=UPLOAD_ID)
    assert (made.next_message(), made.awaiting, made.answered_once) == (None, True, False)
    made.answered(ok(0))
    assert (made.awaiting, made.answered_once, made.uploaded) == (False, True, False)
    assert sent(made) == [0, 2, 4, 6, 8]
    for stored in (2, 4, 6, 8, 10):
        assert (made.awaiting, made.unanswered) == (True, 12 - stored)
        made.answered(ok(stored))
    assert (made.awaiting, made.uploaded, made.finished, made.stored, made.sent_now) == (False, True, False, 10, 10)
    assert made.next_message() == WinnersRequest(agency=3)
    for _ in range(3):
        assert (made.next_message(), made.awaiting) == (None, True)
        made.answered(ok(10))
    made.answered(status(RejectCode.DRAWN, 10))
    assert (made.awaiting, made.winners) == (True, None)
    made.answered(Winners(documents=("30000001",)))
    assert (made.finished, made.winners, made.next_message(), made.awaiting) == (True, ("30000001",), None, False)
    assert rows.readings == 1


@pytest.mark.parametrize("window", [1, 3, 5])
def test_so_many_batches_go_ahead_and_each_answer_lets_one_more_go(window: int) -> None:
    """The window is full at first and stays full."""
    made, _ = opened(window=window)
    assert sent(made) == [0, 2, 4, 6, 8][:window]
    made.answered(ok(2))
    assert sent(made) == [0, 2, 4, 6, 8][window : window + 1]


def test_what_is_stored_is_skipped_and_counted() -> None:
    """The source is read from the row on that the server names."""
    made, rows = opened(4)
    assert (made.stored, made.already_stored, made.sent_now) == (4, 4, 0)
    assert sent(made) == [4, 6, 8]
    assert rows.readings == 1


def test_a_complete_upload_sends_nothing_and_asks() -> None:
    """When all is stored the request for winners follows at once."""
    made, _ = opened(10)
    assert (made.uploaded, made.already_stored, made.sent_now) == (True, 10, 0)
    assert made.next_message() == WinnersRequest(agency=3)


def test_without_a_question_a_complete_upload_is_finished() -> None:
    """With `ask=False` nothing follows the last answer."""
    made, _ = opened(10, ask=False)
    assert (made.finished, made.next_message()) == (True, None)


@pytest.mark.parametrize("stored", range(11))
def test_after_a_lost_connection_the_server_says_where_to_go_on(stored: int) -> None:
    """Whatever row it names; the end of a batch that is still in memory costs no second reading."""
    made, rows = opened(2, window=3)
    sent(made)
    made.lost()
    made.lost()
    assert (made.next_message(), made.unanswered, made.awaiting) == (None, 6, False)
    made.connected()
    assert isinstance(made.next_message(), OpenUpload)
    assert made.next_message() is None
    made.answered(ok(stored))
    at_batch_end = stored in (2, 4, 6, 8)
    assert (made.stored, rows.readings) == (stored, 1 if at_batch_end else 2)
    going = []
    while made.stored < 10:
        going += sent(made)
        made.answered(ok(min(made.stored + 2, 10)))
    assert going == list(range(stored, 10, 2))
    assert made.already_stored == min(stored, 2)


@pytest.mark.parametrize("stored", [4, 5])
def test_other_rows_than_those_of_the_file_are_noticed_wherever_the_server_stands(stored: int) -> None:
    """Compared from memory (4) and by reading again (5)."""
    made, _ = opened(2, window=3)
    sent(made)
    made.connected()
    made.next_message()
    with pytest.raises(SourceChanged, match=f"its first {stored} bets are not those that the server has stored"):
        made.answered(status(RejectCode.OK, stored, crc32=1))
    made.connected()
    assert (made.next_message(), made.stored) == (None, 2)


@pytest.mark.parametrize(
    ("left", "text"),
    [(7, "it ends after 6 bets, 10 were there"), (11, "it has more than the 10 bets that were there")],
)
def test_a_source_with_another_number_of_bets_has_changed(left: int, text: str) -> None:
    """A source that ends early or goes on past its total is an error."""
    made, rows = opened()
    rows.bets = [bet(number) for number in range(left)]
    rows.size = 3 if left == 7 else 4
    if left == 7:
        rows.bets.pop()
    with pytest.raises(SourceChanged, match=text):
        sent(made)
    made.connected()
    assert made.next_message() is None


def test_a_source_that_is_too_short_for_what_is_stored_ends_the_upload() -> None:
    """After the error nothing is sent, on a new connection either."""
    made, rows = machine()
    rows.bets = rows.bets[:3]
    made.connected()
    made.next_message()
    with pytest.raises(ReadError, match="too short"):
        made.answered(ok(4))
    made.connected()
    assert made.next_message() is None


def in_phase(name: str) -> Upload:
    match name:
        case "opening":
            made, _ = machine()
            made.connected()
            made.next_message()
        case "sending":
            made, _ = opened(window=2)
            sent(made)
        case "idle":
            made, _ = opened()
        case "asking":
            made = asking()
        case "waiting":
            made = asking()
            made.answered(ok(10))
        case "ask later":
            made = asking()
            made.answered(status(RejectCode.INCOMPLETE, 10))
        case "drawn":
            made = asking()
            made.answered(status(RejectCode.DRAWN, 10))
        case _:
            raise KeyError(name)
    return made


PHASES = ["opening", "sending", "idle", "asking", "waiting", "ask later"]


def test_the_table_knows_every_code() -> None:
    """Each code of the protocol has its action; those that stop or reconnect are the server's last message."""
    assert list(CLIENT_ACTIONS) == list(RejectCode)
    assert sorted(ENDING_CODES) == sorted(STOPS + RECONNECTS)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", STOPS)
def test_a_refusal_is_for_good(phase: str, code: RejectCode) -> None:
    """In every phase a refusal is raised with its code and what is stored, and nothing is sent after it."""
    made = in_phase(phase)
    with pytest.raises(UploadRefused) as caught:
        made.answered(status(code))
    assert caught.value.code is code
    assert caught.value.stored == 0
    assert str(caught.value) == f"the server refuses: code {code.value}, {code.name}; 0 bets are stored"
    for _ in range(2):
        assert (made.next_message(), made.reconnect_for, made.awaiting) == (None, None, False)
        made.lost()
        made.connected()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", RECONNECTS)
def test_a_passing_trouble_asks_for_another_connection(phase: str, code: RejectCode) -> None:
    """In every phase the upload is opened again on the next connection."""
    made = in_phase(phase)
    made.answered(status(code))
    assert (made.reconnect_for, made.next_message(), made.awaiting) == (code, None, False)
    made.connected()
    assert made.reconnect_for is None
    assert isinstance(made.next_message(), OpenUpload)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", [RejectCode.OK, RejectCode.INCOMPLETE, RejectCode.DRAWN])
def test_what_a_server_says_at_the_wrong_time_is_a_breach(phase: str, code: RejectCode) -> None:
    """A code is accepted in the phases in which the protocol has it."""
    legal = {
        RejectCode.OK: {"opening", "sending", "asking", "waiting"},
        RejectCode.INCOMPLETE: {"asking", "waiting"},
        RejectCode.DRAWN: {"asking", "waiting"},
    }
    made = in_phase(phase)
    answer = status(code, {"opening": 0, "sending": 2}.get(phase, 10))
    if phase in legal[code]:
        made.answered(answer)
        return
    with pytest.raises(SequenceError, match=rf"unexpected {code.name} from the server|the server answers "):
        made.answered(answer)
    made.connected()
    assert made.next_message() is None


@pytest.mark.parametrize("code", list(RejectCode))
def test_behind_the_announcement_of_the_draw_no_status_can_come(code: RejectCode) -> None:
    """After code 16 only lists of winners are accepted."""
    with pytest.raises(SequenceError):
        in_phase("drawn").answered(status(code, 10))


@pytest.mark.parametrize("phase", PHASES)
def test_winners_that_no_status_announces_are_a_breach(phase: str) -> None:
    """A list of winners is accepted behind code 16 only."""
    with pytest.raises(SequenceError, match="winners that nobody has asked for"):
        in_phase(phase).answered(Winners(documents=()))


def test_after_a_stop_even_an_answer_is_a_breach() -> None:
    """Nothing is accepted on a connection that is over."""
    made = in_phase("sending")
    made.answered(status(RejectCode.BUSY))
    with pytest.raises(SequenceError):
        made.answered(ok(2))


@pytest.mark.parametrize("stored", [1, 3, 4])
def test_a_batch_is_stored_whole_and_alone(stored: int) -> None:
    """`stored` grows by exactly the bets of the oldest batch on its way."""
    with pytest.raises(SequenceError, match=f"says that {stored} bets are stored where 2 can be"):
        in_phase("sending").answered(ok(stored))


def test_more_than_the_upload_has_cannot_be_stored() -> None:
    """A `stored` above the total is a breach."""
    with pytest.raises(SequenceError, match="11 bets are stored, of 10"):
        in_phase("opening").answered(status(RejectCode.OK, 11, crc32=0))


def test_after_incomplete_the_question_is_asked_again_on_the_same_connection() -> None:
    """Asking again twice has no effect."""
    made = in_phase("ask later")
    assert (made.ask_again_due, made.next_message(), made.awaiting) == (True, None, False)
    made.ask_again()
    made.ask_again()
    assert (made.ask_again_due, made.next_message()) == (False, WinnersRequest(agency=3))
    made.answered(ok(10))
    assert made.awaiting


def test_a_connection_lost_while_waiting_is_opened_and_asked_again() -> None:
    """The request for winners is repeated after the opening."""
    made = in_phase("waiting")
    made.lost()
    made.connected()
    assert isinstance(made.next_message(), OpenUpload)
    made.answered(ok(10))
    assert made.next_message() == WinnersRequest(agency=3)


def test_a_full_list_of_winners_is_followed_by_another_and_half_of_it_counts_for_nothing() -> None:
    """A cut between two lists starts them over."""
    full, rest = Winners(documents=["30000001"] * 65_535), Winners(documents=["30000002"])
    made = in_phase("waiting")
    made.answered(status(RejectCode.DRAWN, 10))
    made.answered(full)
    assert (made.winners, made.awaiting) == (None, True)
    made.connected()
    made.next_message()
    made.answered(ok(10))
    made.next_message()
    made.answered(status(RejectCode.DRAWN, 10))
    made.answered(full)
    made.answered(rest)
    assert made.winners == ("30000001",) * 65_535 + ("30000002",)


def test_lists_of_winners_without_end_are_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the limit says are taken, whatever they come in; one more ends it, and its count is told."""
    monkeypatch.setattr(module, "MOST_WINNERS", 2 * 65_535)
    full = Winners(documents=("30000001",) * 65_535)
    for last in (0, 1):
        made = asking()
        made.answered(status(RejectCode.DRAWN, 10))
        made.answered(full)
        made.answered(full)
        if not last:
            made.answered(Winners(documents=()))
            assert made.winners == full.documents * 2
            continue
        with pytest.raises(
            SequenceError, match="has named 131,071 winners of agency 3 so far; this client takes at most 131,070"
        ):
            made.answered(Winners(documents=("30000002",)))
        assert (made.winners, made.next_message(), made.awaiting) == (None, None, False)


def test_lists_that_a_lost_connection_has_cut_short_do_not_count_towards_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound on winners is for one connection."""
    monkeypatch.setattr(module, "MOST_WINNERS", 65_535)
    full = Winners(documents=("30000001",) * 65_535)
    made = asking()
    for _ in range(3):
        made.answered(status(RejectCode.DRAWN, 10))
        made.answered(full)
        made.lost()
        made.connected()
        assert isinstance(made.next_message(), OpenUpload)
        made.answered(ok(10))
        assert isinstance(made.next_message(), WinnersRequest)
    made.answered(status(RejectCode.DRAWN, 10))
    made.answered(full)
    made.answered(Winners(documents=()))
    assert made.winners == full.documents


class Central:
    """A server of one upload: loses nothing that it has taken, and answers two questions too early."""

    def __init__(self) -> None:
        self.bets: list[Bet] = []
        self.incomplete = 2

    def answer(self, message: OpenUpload | BetRun | WinnersRequest) -> list[UploadStatus | Winners]:
        if isinstance(message, BetRun):
            self.bets += decode_bets(message.encoded)
        code = RejectCode.OK
        if isinstance(message, WinnersRequest) and self.incomplete:
            self.incomplete -= 1
            code = RejectCode.INCOMPLETE
        found: list[UploadStatus | Winners] = [self.status(code)]
        if isinstance(message, WinnersRequest) and code is RejectCode.OK:
            found += [self.status(RejectCode.OK), self.status(RejectCode.DRAWN), Winners(documents=("12345678",))]
        return found

    def status(self, code: RejectCode) -> UploadStatus:
        return UploadStatus(code=code, draw=7, stored=len(self.bets), crc32=crc(self.bets))


@given(
    seed=st.integers(0, 2**32),
    total=st.integers(1, 40),
    window=st.integers(1, 6),
    size=st.integers(1, 7),
    trouble=st.floats(0, 0.3),
)
def test_whatever_is_lost_every_bet_is_stored_once_and_in_order(
    seed: int, total: int, window: int, size: int, trouble: float
) -> None:
    """Connections end anywhere, with answers and messages on their way, which the server takes or not."""
    luck = random.Random(seed)
    bets = [bet(number) for number in range(total)]
    rows = Rows(bets, size)
    made = Upload(agency=3, draw=7, total=total, upload_id=UPLOAD_ID, source=rows, window=window)
    central = Central()
    steps = 0
    while not made.finished:
        steps += 1
        luck_lasts = steps < 500
        messages: list[OpenUpload | BetRun | WinnersRequest] = []
        answers: list[UploadStatus | Winners] = []
        drawn = False
        made.connected()
        while not made.finished:
            made.ask_again()
            if (message := made.next_message()) is not None:
                messages.append(message)
            if messages and luck.random() < 0.7:
                answers += central.answer(messages.pop(0))
            if answers and luck.random() < 0.7:
                made.answered(answer := answers.pop(0))
                drawn = isinstance(answer, UploadStatus) and answer.reason is RejectCode.DRAWN
            if luck_lasts and luck.random() < trouble:
                for late in messages[: luck.randrange(len(messages) + 1)]:
                    central.answer(late)
                if luck.random() < 0.5:
                    made.lost()
                elif made.awaiting and not drawn:
                    made.answered(central.status(luck.choice(RECONNECTS)))
                break
    assert central.bets == bets
    assert (made.stored, made.winners) == (total, ("12345678",))
    assert made.already_stored + made.sent_now == total
