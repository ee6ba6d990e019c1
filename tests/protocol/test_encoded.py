"""Bets as bytes: split by agency, joined again, searched without making objects."""

from __future__ import annotations

import platform
import random
import zlib
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from struct import error as StructError
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    Bet,
    BetBatch,
    BetRun,
    DecodeError,
    EncodedBatch,
    InvalidMessage,
    InvalidValue,
    decode_bets,
    documents_with_number,
    encode,
    encode_bets,
    survey_runs,
)
from bets_protocol import encoded as runs
from bets_protocol.codec.backend import native_module
from bets_protocol.compiler.bets import emit_native_module
from bets_protocol.compiler.c.module import emit_c_module
from bets_protocol.compiler.c.runs import RunsOf, emit_runs
from bets_protocol.encoded import bet_count, header_size, split_runs
from bets_protocol.generated import layouts
from bets_protocol.layout import nodes as ir
from tests.effort import examples
from tests.protocol.frames import ANA, JOSE, bet
from tests.strategies import bets, messages

LISTS = st.lists(bets(), max_size=12)


@settings(max_examples=examples(30))
@given(LISTS)
def test_bets_come_back_from_their_bytes(given_bets: list[Bet]) -> None:
    """decode_bets(encode_bets(bets)) gives the bets, in order."""
    assert given_bets == decode_bets(encode_bets(given_bets))


@settings(max_examples=examples(30))
@given(messages("bet_batch"))
def test_runs_are_the_frame_cut_between_bets(batch: BetBatch) -> None:
    """Joined again the runs are the frame behind its header; each is of one agency, and no two neighbours are."""
    frame = encode(batch)
    encoded = split_runs(frame, header_size(layouts.BET_BATCH))
    assert frame[2:] == b"".join(run.encoded for run in encoded.runs)
    assert len(batch.bets) == encoded.count == sum(run.count for run in encoded.runs)
    assert list(batch.bets) == [found for run in encoded.runs for found in decode_bets(run.encoded)]
    for run in encoded.runs:
        assert {run.agency} == {found.agency for found in decode_bets(run.encoded)}
        assert run.count == len(decode_bets(run.encoded))
    agencies = [run.agency for run in encoded.runs]
    assert all(one != other for one, other in pairwise(agencies))


@settings(max_examples=examples(40))
@given(LISTS, st.integers(0, 9999))
def test_documents_are_those_of_the_bets_with_the_number(given_bets: list[Bet], number: int) -> None:
    """In order, one entry a bet, and nothing but the number field counts."""
    given_bets = [*given_bets, *(attrs.evolve(found, number=number) for found in given_bets[::2])]
    expected = [found.document for found in given_bets if found.number == number]
    assert expected == documents_with_number(encode_bets(given_bets), number)


def surveyed_one_by_one(uploads: list[tuple[list[bytes], int]], number: int) -> list[tuple[int, list[str]]]:
    """What a survey is to find, asked run by run."""
    return [
        (
            reduce(lambda crc32, run: zlib.crc32(run, crc32), some, before),
            [document for run in some for document in documents_with_number(run, number)],
        )
        for some, before in uploads
    ]


RUNS = st.lists(st.tuples(st.lists(LISTS.map(encode_bets), max_size=2), st.integers(0, 2**32 - 1)), max_size=2)


@settings(max_examples=examples(20))
@given(RUNS, st.sampled_from([0, 7574]))
def test_a_survey_is_a_search_and_a_checksum_of_each_run(uploads: list[tuple[list[bytes], int]], number: int) -> None:
    """Whichever codec runs; each upload goes on from the CRC-32 that it brings."""
    won = encode_bets([attrs.evolve(ANA, number=number)])
    uploads = [*uploads, ([won], 1), ([], 2), *(([*some, won], before) for some, before in uploads)]
    assert survey_runs(uploads, number) == surveyed_one_by_one(uploads, number)


@pytest.mark.parametrize("find", [documents_with_number, runs._find])
def test_the_bytes_of_a_number_elsewhere_are_no_hit(find: Callable[[bytes, int], list[str]]) -> None:
    """Number 8224 has the bytes of two spaces, which a name may hold; a space may stand alone any number of times."""
    with_look_alike = attrs.evolve(ANA, first_name="\x20\x20" * 3, number=1)
    assert find(encode_bets([with_look_alike]), 0x2020) == []
    hit = attrs.evolve(with_look_alike, number=0x2020, document="11111111")
    assert find(encode_bets([with_look_alike, hit]), 0x2020) == ["11111111"]
    apart = attrs.evolve(ANA, first_name="A B C D E F G", number=1)
    assert find(encode_bets([apart]), 0x2020) == []
    assert find(encode_bets([apart, attrs.evolve(apart, number=0x2020)]), 0x2020) == [ANA.document]


def test_two_agencies_by_turns_make_a_lot_a_turn() -> None:
    """A run ends where the agency changes; bets of one agency that do not stand together are in several runs."""
    frame = encode(BetBatch(bets=[ANA, ANA, JOSE, ANA]))
    assert split_runs(frame, 2) == EncodedBatch(
        count=4,
        runs=(
            BetRun(agency=1, count=2, encoded=encode_bets([ANA, ANA])),
            BetRun(agency=5, count=1, encoded=encode_bets([JOSE])),
            BetRun(agency=1, count=1, encoded=encode_bets([ANA])),
        ),
    )


def test_the_count_is_read_where_the_layout_has_it() -> None:
    """Behind the type on revision 8, in front on revision 6."""
    batch = BetBatch(bets=[ANA, JOSE])
    assert bet_count(encode(batch, revision=8), layouts.BET_BATCH) == 2
    assert bet_count(encode(batch, revision=6), layouts.UNTYPED_BATCH) == 2
    assert (header_size(layouts.BET_BATCH), header_size(layouts.UNTYPED_BATCH)) == (2, 1)


@pytest.mark.parametrize("layout", [layouts.WINNERS_REQUEST, ir.Int(1)])
def test_a_layout_that_is_no_batch_is_a_bug(layout: ir.Node) -> None:
    """Whoever asks for the bets of something else learns it at once."""
    with pytest.raises(LookupError):
        header_size(layout)
    with pytest.raises((TypeError, LookupError)):
        runs._count_field(layout)


def test_a_batch_without_a_count_is_a_bug() -> None:
    """The bets of a batch must be counted in front."""
    uncounted = ir.Record("BetBatch", (ir.Field("bets", ir.Array(2, layouts.BET_FRAME)),))
    with pytest.raises(TypeError, match="must be counted"):
        runs._count_field(uncounted)


@pytest.mark.parametrize("cut", [1, 2, 3, 30])
def test_bytes_that_end_inside_a_bet_are_refused(cut: int) -> None:
    """A damaged book shows; it does not lose its last bet in silence."""
    with pytest.raises(DecodeError):
        decode_bets(encode_bets([ANA, JOSE])[:-cut])
    with pytest.raises(DecodeError):
        decode_bets(encode_bets([ANA]) + b"\x00" * cut)


def test_a_bad_value_in_stored_bytes_is_refused() -> None:
    """Reading checks the rules again."""
    with pytest.raises(InvalidValue, match="number"):
        decode_bets(bet() + bet(number=10000))


def test_only_bets_can_be_encoded() -> None:
    """Another object is refused by its kind."""
    with pytest.raises(InvalidMessage, match="expected a Bet"):
        encode_bets([ANA, "JOSE"])  # type: ignore[list-item]  # what no type checker lets pass


# Native and pure


NATIVE = native_module()
needs_native = pytest.mark.skipif(NATIVE is None, reason="the pure codec runs")


def outcome(function: Callable[..., object], *arguments: object) -> object:
    """What a function gives, or the kind of error that it raises."""
    try:
        return function(*arguments)
    except (StructError, ValueError, OverflowError) as error:
        return type(error)


def mutated(data: bytes, chooser: random.Random) -> bytes:
    """`data` with a piece cut off, put in or changed."""
    at = chooser.randrange(len(data) + 1)
    return chooser.choice(
        (
            data[:at],
            data[:at] + chooser.randbytes(chooser.randrange(1, 4)) + data[at:],
            data[:at] + chooser.randbytes(chooser.randrange(1, 4)) + data[at + 2 :],
            data[:at] + data[at + chooser.randrange(1, 60) :],
        )
    )


@needs_native
@settings(max_examples=examples(60))
@given(st.lists(bets(), min_size=1, max_size=12), st.integers(0, 9999), st.randoms(use_true_random=False))
def test_native_is_pure_on_sound_bytes_and_leaves_damaged_ones_to_it(
    given_bets: list[Bet], number: int, chooser: random.Random
) -> None:
    """On bets both give the same. On bytes that are changed, cut or foreign, native gives the same or no answer."""
    assert NATIVE is not None
    given_bets = [*given_bets, *(attrs.evolve(found, number=number) for found in given_bets[::2])]
    sound = encode_bets(given_bets)
    assert NATIVE.split_bets(sound, 0) == runs._split(sound, 0)
    for data in (*(mutated(sound, chooser) for _ in range(20)), chooser.randbytes(60), b""):
        for start in (0, 1, 2, len(data), len(data) + 1, -1):
            assert NATIVE.split_bets(data, start) in (None, outcome(runs._split, data, start))
        for key in (number, 0, 0x3030, 65535):
            assert NATIVE.survey_bets([([sound, data], 1)], key) in (
                None,
                outcome(surveyed_one_by_one, [([sound, data], 1)], key),
            )


@needs_native
@pytest.mark.parametrize("arguments", [(b"", -1), (b"", 2**70), (b"", 65536), ("text", 1), (b"", None), (b"",), ()])
def test_native_has_no_answer_to_what_cannot_be_asked(arguments: tuple[object, ...]) -> None:
    """The pure function is asked then, and says what is wrong."""
    assert NATIVE is not None
    assert NATIVE.split_bets(*arguments) is None


@needs_native
@pytest.mark.parametrize(
    "arguments",
    [
        ([], -1),
        ([], 65536),
        ([], None),
        ((), 1),
        ([], 1, 1),
        ([None], 1),
        ([([], 0), ()], 1),
        ([([], 0, 0)], 1),
        ([((), 0)], 1),
        ([([], -1)], 1),
        ([([], 2**32)], 1),
        ([([], "0")], 1),
        ([([b""], 0), ([b"", ""], 0)], 1),
    ],
)
def test_native_surveys_nothing_that_cannot_be_asked(arguments: tuple[object, ...]) -> None:
    """Not even partly."""
    assert NATIVE is not None
    assert NATIVE.survey_bets(*arguments) is None


@needs_native
def test_native_finds_many_in_much() -> None:
    """More hits than are kept at once, in more bytes than are searched under the interpreter's lock."""
    assert NATIVE is not None
    much = [attrs.evolve(ANA, document=f"{at:08}", number=at % 3) for at in range(3000)]
    encoded = encode_bets(much)
    assert documents_with_number(encoded, 1) == runs._find(encoded, 1) == [f"{at:08}" for at in range(1, 3000, 3)]
    assert NATIVE.survey_bets([([encoded + b"\x00"], 0)], 1) is None
    expected = [f"{at:08}" for at in range(1, 3000, 3)]
    assert survey_runs([([encoded] * 3, 0), ([encoded], 0)], 1) == [
        (zlib.crc32(encoded * 3), expected * 3),
        (zlib.crc32(encoded), expected),
    ]


@needs_native
def test_the_native_checksum_is_that_of_zlib_at_every_size() -> None:
    """Of bets of every size, alone and behind each other, with hits in all of them."""
    assert NATIVE is not None
    sizes = [encode_bets([attrs.evolve(ANA, first_name="n" * size, number=7574)]) for size in range(1, 256)]
    uploads = [([run], size) for size, run in enumerate(sizes)]
    uploads += [([b"".join(sizes[:count])], 2**32 - 1 - count) for count in range(1, 255)] + [
        (sizes, 0),
        ([], 5),
        ([b""], 6),
    ]
    found = NATIVE.survey_bets(uploads, 7574)
    assert found in (None, surveyed_one_by_one(uploads, 7574))
    assert found is not None or platform.machine() not in ("x86_64", "AMD64")


def test_damaged_bytes_are_judged_by_the_pure_functions() -> None:
    """A length that is wrong, and a document that is no text, whichever codec runs."""
    encoded = encode_bets([ANA, ANA])
    assert documents_with_number(b"\x00" + encoded, 7) == runs._find(b"\x00" + encoded, 7)
    with pytest.raises(UnicodeDecodeError):
        documents_with_number(bet(document=b"\xff" * 8, number=7), 7)
    with pytest.raises(OverflowError):
        documents_with_number(encoded, -1)
    assert split_runs(encoded[:-1], 0) == EncodedBatch(count=2, runs=(BetRun(agency=1, count=2, encoded=encoded[:-1]),))


def test_the_pure_functions_do_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no native codec, runs and documents are the same."""
    frame = encode(BetBatch(bets=[ANA, JOSE]))
    uploads = [([frame[2:], frame[2:]], 7), ([], 8)]
    expected = split_runs(frame, 2), documents_with_number(frame[2:], JOSE.number), survey_runs(uploads, JOSE.number)
    monkeypatch.setattr(runs, "_NATIVE", None)
    found = split_runs(frame, 2), documents_with_number(frame[2:], JOSE.number), survey_runs(uploads, JOSE.number)
    assert expected == found


BETS_AS_LOTS = RunsOf(name="bets", frame=layouts.BET_FRAME, owner="agency", key="number", value="document")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"owner": "first_name"}, TypeError),
        ({"owner": "last_name"}, LookupError),
        ({"key": "birthdate"}, TypeError),
        ({"key": "agency"}, LookupError),
        ({"value": "number"}, TypeError),
        ({"value": "name"}, LookupError),
        ({"frame": ir.Region(ir.Int(1), ir.Int(1))}, TypeError),
        ({"frame": ir.Region(ir.Int(2, signed=True), layouts.BET_RECORD)}, TypeError),
    ],
)
def test_native_functions_are_made_only_of_fields_that_fit(changed: dict[str, Any], error: type[Exception]) -> None:
    """The owner and the key must be integers, the value text, all in places that do not vary."""
    with pytest.raises(error):
        emit_runs(attrs.evolve(BETS_AS_LOTS, **changed))


def test_a_module_without_bets_has_nothing_to_cut() -> None:
    """The native functions on runs are there only where they are asked for."""
    assert "split_bets" in emit_native_module()
    assert "split_" not in emit_c_module("module", {"bet_frame": layouts.BET_FRAME})
