"""The generated codec against construct itself: the same declarations, run by two programs that share nothing.

construct is lenient about bytes behind a frame, which a decoder of whole frames must not be; so it is asked for a
frame, and whether it has left any.
"""

from __future__ import annotations

import io
from typing import Any

import construct
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import DecodeError, InvalidValue
from bets_protocol.codec import CODECS, Codec
from bets_protocol.layout import nodes as ir
from bets_protocol.schema import BETS, FRAMES, U8, Bounded, FrameSchema, Line, Ruled, StrictEnum
from tests.effort import examples
from tests.protocol.codecs import EVERY
from tests.protocol.declarations import plain_value
from tests.strategies import frames_or_damaged, messages

BY_NAME = {frame.name: frame for frame in FRAMES}
NAMES = sorted(BY_NAME)
EXAMPLES = 30


def by_construct(frame: FrameSchema, data: bytes) -> Any:
    """What construct makes of `data`, or None where it refuses it."""
    stream = io.BytesIO(data)
    try:
        value = frame.layout.parse_stream(stream)
    except construct.ConstructError:
        return None
    return None if stream.read() else plain_value(CODECS[frame.name].frame.layout, value)


def by_codec(codec: Codec, data: bytes) -> Any:
    """What the generated decoder makes of `data`, or None where it refuses it."""
    try:
        codec.check(data)
    except (DecodeError, InvalidValue):
        with pytest.raises((DecodeError, InvalidValue)):
            codec.decode(data)
        return None
    return plain_value(codec.frame.layout, codec.decode(data))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(EXAMPLES))
@given(data=st.data())
def test_construct_and_codec_agree_about_any_bytes(name: str, data: st.DataObject) -> None:
    """Both refuse the same bytes, and read the same values out of the others."""
    frame = data.draw(frames_or_damaged(name))
    expected = by_construct(BY_NAME[name], frame)
    for codecs in EVERY.values():
        assert expected == by_codec(codecs[name], frame)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(EXAMPLES))
@given(data=st.data())
def test_construct_builds_what_the_codec_encodes(name: str, data: st.DataObject) -> None:
    """A message has the same bytes, whoever writes them."""
    message = data.draw(messages(name))
    expected = BY_NAME[name].layout.build(plain_value(CODECS[name].frame.layout, message))
    for codecs in EVERY.values():
        assert expected == codecs[name].encode(message)


def test_every_body_ends_with_terminated() -> None:
    """construct takes no byte behind a body, which it would where `Terminated` is forgotten."""
    for name, frame in BY_NAME.items():
        sub = frame.layout
        while not isinstance(sub, construct.Struct):
            sub = sub.subcon
        assert sub.subcons[-1] is construct.Terminated, name


def test_frames_of_the_schema_are_those_of_the_codec() -> None:
    """Name, sender, revisions and title of every frame come through."""
    declared = [(frame.name, frame.sender, frame.revisions, frame.title) for frame in FRAMES]
    found = [codec.frame for codec in CODECS.values()]
    assert declared == [(frame.name, frame.sender, frame.revisions, frame.title) for frame in found]


def test_sizes_are_those_of_the_contract() -> None:
    """The smallest and largest frames have the sizes that the page of the protocol gives."""
    sizes = {name: ir.size_bounds(codec.frame.layout) for name, codec in CODECS.items()}
    assert dict(sorted(sizes.items())) == {
        "ack": (1, 1),
        "bet_batch": (29, 8192),
        "bet_frame": (27, 535),
        "open_upload": (31, 31),
        "probe": (1, 1025),
        "untyped_batch": (28, 8192),
        "upload_status": (18, 18),
        "winners": (2, 2 + 65535 * 8),
        "winners_request": (2, 2),
    }


LINE = Line(5, first=(0x61, 0x7A))


@pytest.mark.parametrize(
    ("layout", "data", "reason"),
    [
        (LINE, b"", "begins with a printable"),
        (LINE, b"\n", "begins with a printable"),
        (LINE, b"Abc", "begins with a printable"),
        (LINE, b"abcdef\n", "6 bytes, at most 5"),
        (Bounded(2, construct.Bytes(3)), b"abc", "3 bytes, at most 2"),
        (StrictEnum(U8, a=1), b"\x02", "no member has the number 2"),
        (Ruled(U8, BETS.subcons[0].subcon.subcon.rule), b"\x00", "object failed validation"),
    ],
)
def test_declared_constructs_refuse_when_parsing(layout: Any, data: bytes, reason: str) -> None:
    """The constructs of the schema refuse what their rule forbids."""
    with pytest.raises(construct.ConstructError, match=reason):
        layout.parse(data)


@pytest.mark.parametrize(
    ("layout", "value", "reason"),
    [
        (LINE, b"a\nb", "not one line"),
        (LINE, b"abcdef", "6 bytes, at most 5"),
        (Bounded(2, construct.GreedyBytes), b"abc", "3 bytes, at most 2"),
        (StrictEnum(U8, a=1), 2, "no member has the number 2"),
        (Ruled(U8, BETS.subcons[0].subcon.subcon.rule), 0, "object failed validation"),
    ],
)
def test_declared_constructs_refuse_when_building(layout: Any, value: object, reason: str) -> None:
    """They refuse it in the other direction too."""
    with pytest.raises(construct.ConstructError, match=reason):
        layout.build(value)
