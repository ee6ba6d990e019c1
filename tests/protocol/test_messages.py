"""The message classes: what they take, what they refuse and how they say so."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bets_protocol
from bets_protocol import (
    Ack,
    Bet,
    BetBatch,
    BetRun,
    EncodedBatch,
    InvalidMessage,
    LocalProtocolError,
    OpenUpload,
    Probe,
    RejectCode,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol import messages as messages_module
from bets_protocol.codec import CODECS
from bets_protocol.generated.values import VALID
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose import explain_record, explain_value
from tests.effort import examples
from tests.protocol.codecs import EVERY
from tests.protocol.frames import ANA, JOSE
from tests.strategies import any_message

GOOD: dict[type[Any], dict[str, Any]] = {
    Bet: attrs.asdict(ANA),
    BetBatch: {"bets": (ANA, JOSE)},
    Ack: {"count": 2},
    WinnersRequest: {"agency": 5},
    Winners: {"documents": ("30904465",)},
    Probe: {"line": b"hello\n"},
    OpenUpload: {"agency": 5, "draw": 1, "total": 78697, "upload_id": bytes(16)},
    UploadStatus: {"code": 16, "draw": 1, "stored": 130, "crc32": 7},
}

REFUSED: list[tuple[type[Any], str, Any, str]] = [
    *[(Bet, "agency", value, "a number from 1 to 255") for value in (0, 256, -1, "1", 1.0, True, None)],
    *[(Bet, "number", value, "a number from 0 to 9999") for value in (-1, 10000, 65535, "7574", None, 10**30)],
    *[(Bet, name, 7, "expected text") for name in ("first_name", "last_name", "document", "birthdate")],
    *[(Bet, name, b"Ana", "expected text") for name in ("first_name", "last_name", "document", "birthdate")],
    *[(Bet, name, "", "non-empty text") for name in ("first_name", "last_name")],
    *[(Bet, "first_name", f"A{char}", "control characters") for char in "\x00\x09\n\r\x1b\x1f\x7f\x80\x85\x9f"],
    (Bet, "first_name", "a" * 256, "at most 255 bytes of UTF-8, found '256 bytes'"),
    (Bet, "last_name", "á" * 128, "at most 255 bytes of UTF-8, found '256 bytes'"),
    (Bet, "last_name", "\ud800", "control characters"),
    *[(Bet, "document", text, "8 bytes (ASCII digits only)") for text in ("1234567", "123456789", "")],
    *[(Bet, "document", text, "ASCII digits only") for text in ("1234567a", "1234567 ", "+1234567", "\uff11" * 8)],
    *[(Bet, "document", text, "ASCII digits only") for text in ("\u0663" * 8, "²" * 8)],
    *[(Bet, "birthdate", text, "a day that exists") for text in ("2020-W01-1", "1999-02-30", "1900-02-29")],
    *[(Bet, "birthdate", text, "a day that exists") for text in ("0000-01-01", "1999-3-17", "19990317", "")],
    *[(Bet, "birthdate", text, "a day that exists") for text in ("1999-03-17\n", "\u0662020-01-01", "1999-03-1\uff17")],
    (BetBatch, "bets", (), "1 to 255 items, found '0 items'"),
    (BetBatch, "bets", [ANA] * 256, "1 to 255 items, found '256 items'"),
    (BetBatch, "bets[1]", (ANA, "a bet"), "a Bet, found 'a bet'"),
    (BetBatch, "bets[0]", (Ack(count=1),), "a Bet, found Ack"),
    (BetBatch, "bets", 7, "a tuple, found 7"),
    *[(Ack, "count", value, "a number from 0 to 255") for value in (-1, 256, "1", True)],
    *[(WinnersRequest, "agency", value, "a number from 1 to 255") for value in (0, 256)],
    (Winners, "documents[0]", "12345678", "8 bytes"),
    (Winners, "documents[1]", ("12345678", "1234567x"), "ASCII digits only"),
    (Winners, "documents[0]", (12345678,), "text"),
    (Winners, "documents", 7, "a tuple"),
    (Winners, "documents", ["00000000"] * 65536, "0 to 65535 items"),
    *[(Probe, "line", line, "one line of 1 to 1024 bytes") for line in (b"", b"\n", b"a\nb", b"\x7f", b"a" * 1025)],
    (Probe, "line", "hello", "one line of 1 to 1024 bytes"),
    (OpenUpload, "agency", 0, "a number from 1 to 255"),
    (OpenUpload, "draw", 2**32, "a number from 0 to 4294967295"),
    (OpenUpload, "total", 2**64, "a number from 0 to 18446744073709551615"),
    (OpenUpload, "upload_id", bytes(15), "16 bytes, found '15 bytes'"),
    (OpenUpload, "upload_id", "x" * 16, "expected bytes"),
    (UploadStatus, "code", 17, "one of 0 OK, 1 BAD_FRAME"),
    (UploadStatus, "code", "OK", "one of 0 OK"),
    (UploadStatus, "crc32", -1, "a number from 0 to 4294967295"),
]


@pytest.mark.parametrize(("kind", "path", "value", "expectation"), REFUSED)
def test_a_bad_value_is_refused_by_its_field(kind: type[Any], path: str, value: Any, expectation: str) -> None:
    """The error names the field and the rule; no message comes into being."""
    field = path.partition("[")[0]
    with pytest.raises(InvalidMessage) as raised:
        kind(**GOOD[kind] | {field: value})
    assert path == raised.value.path
    assert expectation in str(raised.value)
    assert raised.value.code is RejectCode.BAD_BET


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_message_is_frozen_data(kind: type[Any]) -> None:
    """Equal when all fields are, hashable, copied and pickled as it is; no field can be set or added."""
    message = kind(**GOOD[kind])
    assert message == kind(**GOOD[kind])
    assert hash(message) == hash(kind(**GOOD[kind]))
    assert message == copy.deepcopy(message) == pickle.loads(pickle.dumps(message))
    for name in [*GOOD[kind], "other"]:
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(message, name, 1)


@pytest.mark.parametrize("kind", GOOD)
def test_fields_are_given_by_name(kind: type[Any]) -> None:
    """No field can be mistaken for another one."""
    make: Callable[..., object] = kind
    with pytest.raises(TypeError, match="positional argument"):
        make(*GOOD[kind].values())


def test_messages_differ_by_every_field() -> None:
    """A change of any field makes another message."""
    others: dict[str, Any] = {
        "agency": 2, "first_name": "Eva", "last_name": "Sol", "document": "30904466", "birthdate": "1999-03-18",
        "number": 7575,
    }  # fmt: skip
    for name, value in others.items():
        assert attrs.evolve(ANA, **{name: value}) != ANA
    assert BetBatch(bets=[ANA, JOSE]) != BetBatch(bets=[JOSE, ANA])


def test_changing_a_copy_is_checked_too() -> None:
    """`attrs.evolve` makes a message, so it refuses what making one refuses."""
    with pytest.raises(InvalidMessage, match="number: expected a number from 0 to 9999, found 10000"):
        attrs.evolve(ANA, number=10000)


def test_the_checks_cannot_be_switched_off() -> None:
    """A user who has switched off the validators of attrs still makes no bad message."""
    with attrs.validators.disabled(), pytest.raises(InvalidMessage):
        WinnersRequest(agency=0)


def test_batches_take_any_iterable() -> None:
    """Lists and generators become tuples."""
    assert (ANA, JOSE) == BetBatch(bets=[ANA, JOSE]).bets == BetBatch(bets=iter([ANA, JOSE])).bets
    assert Winners(documents=["30904465"]).documents == ("30904465",)


def test_an_imitation_of_a_bet_is_none() -> None:
    """A batch takes bets of this library only, not objects of a class that has the same name."""
    imitation = attrs.make_class("Bet", list(attrs.asdict(ANA)))(**attrs.asdict(ANA))
    with pytest.raises(InvalidMessage, match="expected the parts of the BetBatch to be messages"):
        BetBatch(bets=[imitation])


def test_a_name_of_255_bytes_is_taken() -> None:
    """The bound counts bytes of UTF-8."""
    for name in ("a" * 255, "á" * 127 + "a", "山" * 85, "\U0001d504" * 63 + "abc"):
        assert len(attrs.evolve(ANA, first_name=name).first_name.encode()) == 255


def test_an_error_is_a_value_error_of_the_sender() -> None:
    """It can be caught as what it is: a ValueError, a mistake on this side, and one of the library's errors."""
    with pytest.raises(InvalidMessage) as raised:
        Ack(count=256)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, LocalProtocolError)
    assert isinstance(raised.value, bets_protocol.BetsError)
    assert raised.value.reason == "expected a number from 0 to 255"
    assert raised.value.summary == "count: expected a number from 0 to 255"
    assert raised.value.found == "256"
    assert not raised.value.retryable


def test_the_code_of_a_status_has_a_name() -> None:
    """`reason` is the member of the enumeration."""
    status = UploadStatus(code=10, draw=1, stored=2, crc32=3)
    assert status.reason is RejectCode.BUSY
    assert status.reason.retryable
    assert not RejectCode.SEALED.retryable
    assert status == UploadStatus(code=RejectCode.BUSY, draw=1, stored=2, crc32=3)


class Number(enum.IntEnum):
    """Somebody's constants."""

    ZERO = 0
    FEW = 3
    MANY = 9999


def test_a_member_of_an_int_enum_is_an_integer() -> None:
    """In every integer field, of every codec: the same bytes, the same message, the same text."""
    for member, plain in (
        (Ack(count=Number.FEW), Ack(count=3)),
        (WinnersRequest(agency=Number.FEW), WinnersRequest(agency=3)),
        (attrs.evolve(ANA, agency=Number.FEW, number=Number.MANY), attrs.evolve(ANA, agency=3, number=9999)),
        (OpenUpload(agency=Number.FEW, draw=Number.FEW, total=Number.MANY, upload_id=bytes(16)),) * 2,
        (UploadStatus(code=RejectCode.SEALED, draw=Number.FEW, stored=Number.MANY, crc32=Number.ZERO),) * 2,
        (UploadStatus(code=Number.FEW, draw=0, stored=0, crc32=0), UploadStatus(code=3, draw=0, stored=0, crc32=0)),
    ):
        assert member == plain
        for codecs in EVERY.values():
            for codec in codecs.values():
                if codec.message_class is type(member):
                    data = codec.encode(member)
                    assert data == codec.encode(plain)
                    assert all(type(value) is not Number for value in attrs.astuple(codec.decode(data)))
    with pytest.raises(InvalidMessage, match=r"agency: expected a number from 1 to 255, found <Number.ZERO: 0>"):
        WinnersRequest(agency=Number.ZERO)
    assert (str(RejectCode.SEALED), f"{RejectCode.SEALED}", json.dumps(RejectCode.SEALED)) == ("7", "7", "7")


def test_true_and_false_are_no_numbers() -> None:
    """Not of a code either, though Python counts with them."""
    with pytest.raises(InvalidMessage, match=r"code: expected one of 0 OK, .*, found True"):
        UploadStatus(code=True, draw=0, stored=0, crc32=0)
    with pytest.raises(InvalidMessage, match=r"draw: expected a number .*, found False"):
        UploadStatus(code=0, draw=False, stored=0, crc32=0)


def test_runs_and_encoded_batches_are_frozen_data() -> None:
    """They hold what was checked elsewhere."""
    run = BetRun(agency=1, count=2, encoded=b"..")
    assert run == BetRun(agency=1, count=2, encoded=b"..")
    assert EncodedBatch(count=2, runs=(run,)) == EncodedBatch(count=2, runs=(run,))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(run, "count", 3)  # noqa: B010  # what no type checker lets pass


def test_a_class_with_other_fields_than_its_layout_is_a_bug() -> None:
    """The library does not come up when a message class and the schema part ways."""

    @attrs.frozen
    class Ack:
        total: int

    with pytest.raises(TypeError, match=r"Ack has the fields \['total'\], its layout \['count'\]"):
        messages_module._register(Ack)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 70000),
    st.floats(),
    st.text(max_size=10),
    st.text(alphabet="0123456789-", min_size=8, max_size=10),
    st.text(alphabet="aé山\ud800\x85", min_size=80, max_size=300),
    st.binary(max_size=20),
    st.lists(st.text(alphabet="0123456789", min_size=8, max_size=8) | st.integers(), max_size=3),
    st.sampled_from([ANA, (ANA,), [ANA, JOSE], [ANA, None], Ack(count=1), "1999-03-17", "30904465"]),
)


@settings(max_examples=examples(150))
@given(kind=st.sampled_from(sorted(GOOD, key=lambda kind: kind.__name__)), data=st.data())
def test_any_value_makes_a_message_or_an_error_that_names_its_field(kind: type[Any], data: st.DataObject) -> None:
    """Nothing but InvalidMessage comes of bad values, and what was taken can be encoded."""
    field = data.draw(st.sampled_from(sorted(GOOD[kind])))
    value = data.draw(JUNK)
    try:
        message = kind(**GOOD[kind] | {field: value})
    except InvalidMessage as refusal:
        refused_path = refusal.path
    else:
        refused_path = field
        for codec in CODECS.values():
            if codec.message_class is kind:
                assert message == codec.decode(codec.encode(message))
    assert refused_path.startswith(field)


@settings(max_examples=examples(80))
@given(any_message())
def test_the_slow_path_finds_nothing_in_good_messages(message: object) -> None:
    """The check and its explanation agree about every good message."""
    assert VALID[type(message).__name__](message, {kind.__name__: kind for kind in GOOD})
    for codec in CODECS.values():
        if codec.message_class is type(message):
            assert explain_value(codec.frame.layout, message) is None


def test_only_what_has_a_value_is_explained() -> None:
    """A constant is held by no message."""
    with pytest.raises(TypeError, match="a Const has no value of its own"):
        explain_value(ir.Const(1, ir.Int(1)), 1)


def test_an_object_without_the_field_is_refused() -> None:
    """An explanation of something that is no message at all ends in an error too."""
    record = CODECS["ack"].frame.layout
    error = explain_record(record, object())  # type: ignore[arg-type]  # the layout of an Ack is a record
    assert error is not None
    assert str(error) == "count: expected a value, found None"
