"""What is wrong with bytes: which kind of error, in which field, at which byte, and what was expected there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import DecodeError, FrameTooLarge, InvalidValue, RejectCode, RemoteProtocolError
from bets_protocol.codec import CODECS
from bets_protocol.generated import layouts
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose import explain_bytes
from bets_protocol.layout.rules import IntRange
from tests.effort import examples
from tests.protocol.codecs import EVERY
from tests.protocol.frames import BIRTHDATE, DOCUMENT, FIRST_NAME, LAST_NAME, NUMBER, batch, bet, sized_bet
from tests.strategies import frames_or_damaged

WHOLE = bet()


def explain_bet(data: bytes) -> RemoteProtocolError | None:
    return explain_bytes(layouts.BET_FRAME, data)


def explain_batch(data: bytes) -> RemoteProtocolError | None:
    return explain_bytes(layouts.BET_BATCH, data)


def refused_alike(name: str, frame: bytes, error: RemoteProtocolError | None) -> bool:
    """Whether every codec refuses `frame` with the same words, and its scanner has no other opinion."""
    for codecs in EVERY.values():
        codec = codecs[name]
        for read in (codec.check, codec.decode):
            try:
                read(frame)
                assert error is None
            except (DecodeError, InvalidValue) as found:
                assert (type(error), str(error)) == (type(found), str(found))  # noqa: PT017  # it may not be raised
        try:
            next(codec.scan(bytearray(frame)))
        except StopIteration:
            continue
        except DecodeError:
            assert isinstance(error, DecodeError)
    return True


def verdict(error: RemoteProtocolError | None) -> tuple[type[RemoteProtocolError], str, int | None] | None:
    return None if error is None else (type(error), error.path, error.offset)


@pytest.mark.parametrize("length", [0, 1, 22, 23, 24, 534, 535, 65535])
@pytest.mark.parametrize("follows", [0, 1, 600])
def test_a_length_that_no_bet_has_is_a_framing_error(length: int, follows: int) -> None:
    """Lengths below 25 and above 533 are refused at the length, whatever follows."""
    error = explain_bet(length.to_bytes(2, "big") + bytes(follows))
    assert (DecodeError, "", 0) == verdict(error)
    assert f"expected a length from 25 to 533, not {length}" in str(error)


def test_every_length_of_a_bet_is_accepted() -> None:
    """25 to 533 are good when the fields fill them exactly; one byte more or less is a framing error."""
    for length in range(25, 534):
        frame = sized_bet(length + 2)
        assert explain_bet(frame) is None
        assert isinstance(explain_bet((length - 1).to_bytes(2, "big") + frame[2:]), DecodeError)
        assert isinstance(explain_bet((length + 1).to_bytes(2, "big") + frame[2:]), DecodeError)
        assert isinstance(explain_bet(frame[:-1]), DecodeError)


@pytest.mark.parametrize(
    ("frame", "path", "offset", "reason"),
    [
        (b"", "", 0, "expected 2 bytes, only 0 are left, found the end of the frame"),
        (b"\x00", "", 0, "expected 2 bytes, only 1 are left, found the bytes 00"),
        (WHOLE[:10], "", 2, "expected 29 bytes, only 8 are left"),
        (bet(length=28), "number", NUMBER, "expected 2 bytes, only 1 are left"),
        (bet(length=30) + b"x", "", NUMBER + 2, "expected the end of its length, 1 bytes sooner"),
        (WHOLE + b"x", "", len(WHOLE), "expected the end of the frame, 1 bytes sooner, found the bytes 78"),
        (bet(first_length=200), "first_name", FIRST_NAME, "expected 200 bytes, only 27 are left"),
        (bet(first_length=27), "last_name", len(WHOLE), "expected 1 bytes, only 0 are left"),
        (bet(last_length=255), "last_name", LAST_NAME, "expected 255 bytes, only 23 are left"),
        (bet(last_length=2), "", NUMBER + 1, "expected the end of its length, 1 bytes sooner"),
        (bet(last_length=4), "number", NUMBER + 1, "expected 2 bytes, only 1 are left"),
        (bet(document=b"3090446"), "number", NUMBER, "expected 2 bytes, only 1 are left"),
    ],
)
def test_framing_errors_of_a_bet(frame: bytes, path: str, offset: int, reason: str) -> None:
    """Where the layout breaks, and what was expected there."""
    error = explain_bet(frame)
    assert refused_alike("bet_frame", frame, error)
    assert (DecodeError, path, offset) == verdict(error)
    assert reason in str(error)


@pytest.mark.parametrize(
    ("frame", "path", "offset", "reason"),
    [
        (batch(count=0), "bets", 1, "expected a count from 1 to 255, not 0"),
        (batch(WHOLE, count=255), "bets[1]", 2 + len(WHOLE), "expected 2 bytes, only 0 are left"),
        (batch(WHOLE, WHOLE, count=1), "", 2 + len(WHOLE), "expected the end of the frame, 31 bytes sooner"),
        (batch(WHOLE, kind=0), "type", 0, "expected 1, not 0"),
        (batch(WHOLE, kind=4), "type", 0, "expected 1, not 4"),
        (batch(WHOLE, kind=255), "type", 0, "expected 1, not 255"),
        (batch(WHOLE) + b"x", "", 2 + len(WHOLE), "expected the end of the frame, 1 bytes sooner"),
        (batch(WHOLE, bet(length=65535)), "bets[1]", 2 + len(WHOLE), "expected a length from 25 to 533"),
        (batch(WHOLE, bet(length=28)), "bets[1].number", 2 + len(WHOLE) + NUMBER, "expected 2 bytes, only 1 are left"),
        (batch(WHOLE)[:-1], "bets[0]", 4, "expected 29 bytes, only 28 are left"),
        (b"\x01", "bets", 1, "expected 1 bytes, only 0 are left"),
        (b"", "type", 0, "expected 1 bytes, only 0 are left"),
    ],
)
def test_framing_errors_of_a_batch(frame: bytes, path: str, offset: int, reason: str) -> None:
    """The bet is named by its place in the batch, the byte by its place in the frame."""
    error = explain_batch(frame)
    assert refused_alike("bet_batch", frame, error)
    untyped = explain_bytes(layouts.UNTYPED_BATCH, frame[1:])
    assert refused_alike("untyped_batch", frame[1:], untyped)
    assert (DecodeError, path, offset) == verdict(error)
    assert reason in str(error)


def test_a_batch_may_fill_its_bound_and_not_a_byte_more() -> None:
    """8192 bytes are good; with 8193 the bet that passes the bound is named."""
    bets = [sized_bet(535)] * 15
    assert explain_batch(batch(*bets, sized_bet(165))) is None
    error = explain_batch(batch(*bets, sized_bet(166)))
    assert refused_alike("bet_batch", batch(*bets, sized_bet(166)), error)
    untyped = batch(*bets, sized_bet(167))[1:]
    assert refused_alike("untyped_batch", untyped, explain_bytes(layouts.UNTYPED_BATCH, untyped))
    assert (FrameTooLarge, "bets[15]", 8192) == verdict(error)
    assert str(error) == "bets[15] at byte 8192: expected at most 8192 bytes"
    # That the rest of it is not there makes no difference: its length is enough.
    for missing in (1, 100):
        error = explain_batch(batch(*bets, sized_bet(166))[:-missing])
        assert (FrameTooLarge, "bets[15]", 8192) == verdict(error)
    # A bet that would end at the bound is only incomplete.
    error = explain_batch(batch(*bets, sized_bet(165))[:-1])
    assert (DecodeError, "bets[15]", 8029) == verdict(error)
    # Here the very length of a bet lies behind the bound.
    frame = batch(*bets, sized_bet(165), sized_bet(27))
    error = explain_batch(frame)
    assert refused_alike("bet_batch", frame, error)
    untyped = batch(*bets, sized_bet(166), sized_bet(27))[1:]
    assert refused_alike("untyped_batch", untyped, explain_bytes(layouts.UNTYPED_BATCH, untyped))
    assert (FrameTooLarge, "bets[16]", 8192) == verdict(error)


def test_a_framing_error_before_the_bound_keeps_its_place() -> None:
    """A frame that is too large is not blamed for that where its layout breaks before."""
    error = explain_batch(batch(bet(first_length=200), *[sized_bet(535)] * 20))
    assert (DecodeError, "bets[0].first_name", 6) == verdict(error)


VALUE_ERRORS = [
    ("agency 0", bet(agency=0), "agency", 2, "a number from 1 to 255, found 0"),
    ("number 10000", bet(number=10000), "number", NUMBER, "a number from 0 to 9999, found 10000"),
    ("number 65535", bet(number=65535), "number", NUMBER, "a number from 0 to 9999, found 65535"),
    ("empty name", bet(first_name=b"", last_name=b"Paz Paz"), "first_name", FIRST_NAME, "non-empty text"),
    ("empty last name", bet(last_name=b""), "last_name", LAST_NAME, "non-empty text"),
    ("NUL", bet(first_name=b"A\x00a"), "first_name", FIRST_NAME, "without control characters"),
    ("CR LF", bet(first_name=b"A\r\n"), "first_name", FIRST_NAME, "without control characters"),
    ("LF", bet(last_name=b"Pa\n"), "last_name", LAST_NAME, "without control characters"),
    ("ESC", bet(last_name=b"\x1b[m"), "last_name", LAST_NAME, "without control characters"),
    ("DEL", bet(last_name=b"Pa\x7f"), "last_name", LAST_NAME, "without control characters"),
    ("C1", bet(last_name=b"P\xc2\x9b"), "last_name", LAST_NAME, "without control characters"),
    ("stray byte", bet(first_name=b"A\xffa"), "first_name", FIRST_NAME + 1, "UTF-8 text"),
    ("cut character", bet(first_name=b"An\xc3"), "first_name", FIRST_NAME + 2, "UTF-8 text"),
    ("overlong slash", bet(first_name=b"A\xc0\xaf"), "first_name", FIRST_NAME + 1, "UTF-8 text"),
    ("surrogate", bet(first_name=b"\xed\xa0\x80"), "first_name", FIRST_NAME, "UTF-8 text"),
    ("letter", bet(document=b"3090446O"), "document", DOCUMENT, "ASCII digits only"),
    ("space", bet(document=b"3090446 "), "document", DOCUMENT, "ASCII digits only"),
    ("sign", bet(document=b"+3090446"), "document", DOCUMENT, "ASCII digits only"),
    ("Arabic digits", bet(document=("\u0663" * 4).encode()), "document", DOCUMENT, "ASCII text"),
    ("superscripts", bet(document="²²²²".encode()), "document", DOCUMENT, "ASCII text"),
    ("latin-1 superscripts", bet(document=b"\xb2\xb3\xb9\xb2\xb3\xb9\xb2\xb3"), "document", DOCUMENT, "ASCII text"),
    ("week date", bet(birthdate=b"2020-W01-1"), "birthdate", BIRTHDATE, "a day that exists, as YYYY-MM-DD"),
    ("30 February", bet(birthdate=b"1999-02-30"), "birthdate", BIRTHDATE, "a day that exists"),
    ("29 February 1900", bet(birthdate=b"1900-02-29"), "birthdate", BIRTHDATE, "a day that exists"),
    ("31 April", bet(birthdate=b"1999-04-31"), "birthdate", BIRTHDATE, "a day that exists"),
    ("month 13", bet(birthdate=b"1999-13-01"), "birthdate", BIRTHDATE, "a day that exists"),
    ("day 00", bet(birthdate=b"1999-01-00"), "birthdate", BIRTHDATE, "a day that exists"),
    ("year 0000", bet(birthdate=b"0000-01-01"), "birthdate", BIRTHDATE, "a day that exists"),
    ("slashes", bet(birthdate=b"1999/03/17"), "birthdate", BIRTHDATE, "a day that exists"),
    ("day first", bet(birthdate=b"17-03-1999"), "birthdate", BIRTHDATE, "a day that exists"),
    ("spaces", bet(birthdate=b"1999- 3-17"), "birthdate", BIRTHDATE, "a day that exists"),
    ("Arabic year", bet(birthdate="\u0663\u06639-03-1".encode()), "birthdate", BIRTHDATE, "ASCII text"),
]


@pytest.mark.parametrize(
    ("frame", "path", "offset", "expectation"),
    [case[1:] for case in VALUE_ERRORS],
    ids=[case[0] for case in VALUE_ERRORS],
)
def test_value_errors_of_a_bet(frame: bytes, path: str, offset: int, expectation: str) -> None:
    """A sound layout with a value that breaks its rule: the field, its first byte, and the rule."""
    error = explain_bet(frame)
    assert (InvalidValue, path, offset) == verdict(error)
    assert error is not None
    assert expectation in str(error)
    assert error.code is RejectCode.BAD_BET
    assert refused_alike("bet_frame", frame, error)
    # In a batch the same value is refused for the same reason.
    in_batch = explain_batch(batch(WHOLE, frame))
    assert refused_alike("bet_batch", batch(WHOLE, frame), in_batch)
    untyped = explain_bytes(layouts.UNTYPED_BATCH, batch(WHOLE, frame)[1:])
    assert refused_alike("untyped_batch", batch(WHOLE, frame)[1:], untyped)
    assert (InvalidValue, f"bets[1].{path}", 2 + len(WHOLE) + offset) == verdict(in_batch)


@pytest.mark.parametrize(
    "frame",
    [
        bet(birthdate=b"2000-02-29"),
        bet(birthdate=b"0001-01-01"),
        bet(birthdate=b"9999-12-31"),
        bet(first_name="\u202eanA".encode()),  # a mark that turns the direction of writing is no control character
        bet(first_name="Ana\u00a0".encode()),
        bet(first_name=b" "),
        bet(first_name="\U0010ffff".encode()),
        bet(first_name=b"|'\";--"),
        bet(number=0),
        bet(agency=255),
        bet(document=b"00000000"),
    ],
)
def test_unusual_values_that_are_good(frame: bytes) -> None:
    """What no rule forbids is accepted."""
    assert explain_bet(frame) is None
    for codecs in EVERY.values():
        codecs["bet_frame"].check(frame)


def test_a_framing_error_wins_over_every_value_error() -> None:
    """A batch whose values are all bad and whose last byte is missing is a framing error."""
    bad = bet(agency=0, first_name=b"\xff\xff\xff", document=b"xxxxxxxx", birthdate=b"1999-02-30", number=65535)
    assert isinstance(explain_batch(batch(bad, bad)), InvalidValue)
    assert isinstance(explain_batch(batch(bad, bad)[:-1]), DecodeError)
    assert isinstance(explain_batch(batch(bad, bad) + b"x"), DecodeError)
    assert isinstance(explain_batch(batch(bad, bet(last_length=9))), DecodeError)


def test_the_first_value_error_is_the_one_that_is_told() -> None:
    """Of several bad values the one in front is named."""
    error = explain_batch(batch(WHOLE, bet(number=10000), bet(agency=0)))
    assert (InvalidValue, "bets[1].number", 2 + len(WHOLE) + NUMBER) == verdict(error)


def test_what_was_found_stays_out_of_the_summary() -> None:
    """A log line names the place and the rule, but no personal data; the whole text shows a piece of it."""
    error = explain_bet(bet(first_name=b"Secret\x00" * 9))
    assert error is not None
    assert "Secret" not in error.summary
    assert "Secret" in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("name", "frame", "expected"),
    [
        ("winners_request", b"\x01\x05", (DecodeError, "type", 0)),
        ("winners_request", b"\x02", (DecodeError, "agency", 1)),
        ("winners_request", b"\x02\x00", (InvalidValue, "agency", 1)),
        ("winners_request", b"\x02\x05\x00", (DecodeError, "", 2)),
        ("winners", b"\x00", (DecodeError, "documents", 0)),
        ("winners", b"\x00\x01", (DecodeError, "documents[0]", 2)),
        ("winners", b"\x00\x02" + b"12345678" + b"1234567x", (InvalidValue, "documents[1]", 10)),
        ("winners", b"\x03\xe8" + b"12345678" * 999, (DecodeError, "documents[999]", 2 + 8 * 999)),
        ("ack", b"", (DecodeError, "count", 0)),
        ("ack", b"\x01\x01", (DecodeError, "", 1)),
        ("probe", b"", (DecodeError, "line", 0)),
        ("probe", b"\n", (DecodeError, "line", 0)),
        ("probe", b"\x1fhello\n", (DecodeError, "line", 0)),
        ("probe", b"\x7f\n", (DecodeError, "line", 0)),
        ("probe", b"a\nb", (DecodeError, "", 2)),
        ("probe", b"a" * 1025, (FrameTooLarge, "line", 1024)),
        ("probe", b"a" * 1025 + b"\n", (FrameTooLarge, "line", 1024)),
        ("probe", b"a" * 1024 + b"\n", None),
        ("probe", b"a" * 1024, None),
        ("probe", b"~\x00\xff\r\n", None),
        ("open_upload", b"\x02\x01" + bytes(29), (DecodeError, "type", 0)),
        ("open_upload", b"\x03", (DecodeError, "version", 1)),
        ("open_upload", b"\x03\x02" + bytes(29), (DecodeError, "version", 1)),
        ("open_upload", b"\x03\x01\x01" + bytes(29), (DecodeError, "", 31)),
        ("open_upload", b"\x03\x01" + bytes(29), (InvalidValue, "agency", 2)),
        ("open_upload", b"\x03\x01\x01" + bytes(27), (DecodeError, "upload_id", 15)),
        ("upload_status", b"", (DecodeError, "type", 0)),
        ("upload_status", b"\x83\x11" + bytes(16), (InvalidValue, "code", 1)),
        ("upload_status", b"\x82\x00" + bytes(16), (DecodeError, "type", 0)),
        ("upload_status", b"\x83\x00" + bytes(17), (DecodeError, "", 18)),
    ],
)
def test_errors_of_the_other_frames(name: str, frame: bytes, expected: tuple[type, str, int] | None) -> None:
    """Kind of error, field and byte for each of the other messages."""
    error = explain_bytes(CODECS[name].frame.layout, frame)
    assert expected == verdict(error)
    assert refused_alike(name, frame, error)


@pytest.mark.parametrize("name", sorted(CODECS))
@settings(max_examples=examples(25))
@given(data=st.data())
def test_the_slow_path_agrees_with_the_fast_one(name: str, data: st.DataObject) -> None:
    """Bytes are explained exactly when they are refused; where and what is said lies inside of the frame."""
    frame = data.draw(frames_or_damaged(name))
    error = explain_bytes(CODECS[name].frame.layout, frame)
    for codecs in EVERY.values():
        if error is None:
            codecs[name].check(frame)
        else:
            with pytest.raises(type(error)) as raised:
                codecs[name].check(frame)
            assert str(error) == str(raised.value)
            assert error.offset is not None
            assert 0 <= error.offset <= len(frame)


def test_bounds_inside_regions_are_told_apart() -> None:
    """What runs past the region around it is no frame too large, even where a bound ends at the same byte."""
    region = ir.Region(ir.Int(1), ir.Record("Inner", (ir.Field("text", ir.Bytes(prefix=ir.Int(1))),)))
    layout = ir.Bounded(
        4, ir.Record("Outer", (ir.Field("inner", region), ir.Field("rest", ir.Bytes(prefix=ir.Int(1)))))
    )
    assert explain_bytes(layout, bytes([2, 1, 7, 0])) is None
    assert (DecodeError, "inner.text", 2) == verdict(explain_bytes(layout, bytes([3, 3, 7, 7, 0])))
    assert (FrameTooLarge, "rest", 4) == verdict(explain_bytes(layout, bytes([3, 2, 7, 7, 0])))
    assert (DecodeError, "rest", 3) == verdict(explain_bytes(layout, bytes([2, 1, 7])))


def test_a_bound_inside_a_bound_ends_where_it_says() -> None:
    """The inner bound holds for its part, the outer one for the whole."""
    inner = ir.Bounded(2, ir.Bytes(prefix=ir.Int(1)))
    layout = ir.Bounded(4, ir.Record("Outer", (ir.Field("a", inner), ir.Field("b", ir.Bytes(prefix=ir.Int(1))))))
    assert explain_bytes(layout, bytes([1, 7, 1, 7])) is None
    assert (FrameTooLarge, "a", 2) == verdict(explain_bytes(layout, bytes([2, 7, 7, 1, 7])))
    assert (FrameTooLarge, "b", 4) == verdict(explain_bytes(layout, bytes([1, 7, 2, 7, 7])))


def test_an_unknown_case_is_a_framing_error() -> None:
    """Nobody can say how long the case of an unknown number is, even where the number breaks a rule of its own."""
    layout = ir.Record(
        "Either",
        (
            ir.Field("kind", ir.Int(1, rule=IntRange(1, 2))),
            ir.Field("body", ir.Switch("kind", ((1, ir.Int(1)), (2, ir.Int(2))))),
        ),
    )
    assert explain_bytes(layout, bytes([1, 7])) is None
    assert explain_bytes(layout, bytes([2, 7, 7])) is None
    error = explain_bytes(layout, bytes([3, 7]))
    assert (DecodeError, "body", 1) == verdict(error)
    assert "expected kind to be one of 1, 2, not 3" in str(error)
