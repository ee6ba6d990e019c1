"""Whole frames: what is encoded is decoded again, and what is decoded is encoded again, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    Ack,
    Bet,
    BetBatch,
    DecodeError,
    FrameTooLarge,
    InvalidMessage,
    InvalidValue,
    LocalProtocolError,
    Message,
    Probe,
    WinnersRequest,
    decode,
    encode,
    limits,
)
from bets_protocol.codec import CODECS, Codec, codec_for
from tests.effort import examples
from tests.protocol.codecs import CODEC_CASES, EVERY, PURE
from tests.strategies import frames_or_damaged, messages

CASES = [(name, revision) for name, codec in CODECS.items() for revision in codec.frame.revisions]

ANA = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=7574)
LONG = Bet(
    agency=1, first_name="á" * 127 + "x", last_name="b" * 255, document="00000000", birthdate="2000-02-29", number=0
)


@pytest.mark.parametrize(("name", "revision"), CASES)
@settings(max_examples=examples(20))
@given(data=st.data())
def test_decoding_gives_back_what_was_encoded(name: str, revision: int, data: st.DataObject) -> None:
    """decode(encode(message)) is the message, for every message of every revision."""
    message: Message = data.draw(messages(name))
    assert message == decode(type(message), encode(message, revision=revision), revision=revision)


@pytest.mark.parametrize(("which", "name"), CODEC_CASES)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_encoding_gives_back_what_was_accepted(which: str, name: str, data: st.DataObject) -> None:
    """encode(decode(frame)) is the frame, for all bytes that are accepted: no message has two encodings."""
    codec = EVERY[which][name]
    frame = data.draw(frames_or_damaged(name))
    try:
        message = codec.decode(frame)
    except (DecodeError, InvalidValue):
        return
    assert frame == codec.encode(message)


@pytest.mark.parametrize(("which", "name"), CODEC_CASES)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_checking_and_decoding_say_the_same(which: str, name: str, data: st.DataObject) -> None:
    """`check` refuses exactly what `decode` refuses, with the same words."""
    frame = data.draw(frames_or_damaged(name))
    expected = refusal(PURE[name], "check", frame)
    assert expected == refusal(EVERY[which][name], "check", frame) == refusal(EVERY[which][name], "decode", frame)


@pytest.mark.parametrize(("which", "name"), CODEC_CASES)
@settings(max_examples=examples(25))
@given(data=st.data())
def test_the_scanner_finds_the_end_of_every_sound_frame(which: str, name: str, data: st.DataObject) -> None:
    """A frame whose layout is sound ends where the scanner says; one that the scanner refuses is a framing error."""
    codec = EVERY[which][name]
    frame = data.draw(frames_or_damaged(name))
    verdict = refusal(codec, "check", frame)
    try:
        next(codec.scan(bytearray(frame)))
        found = None
    except StopIteration as end:
        found = end.value
    except DecodeError:
        assert verdict is not None
        assert verdict[0] in (DecodeError, FrameTooLarge)
        return
    if verdict is None or verdict[0] is InvalidValue:
        assert found == (None if name == "probe" and not frame.endswith(b"\n") else len(frame))


def refusal(codec: Codec, verb: str, frame: bytes) -> tuple[type[Exception], str] | None:
    """How the function refuses `frame`, or None."""
    try:
        getattr(codec, verb)(frame)
    except (DecodeError, InvalidValue) as error:
        return type(error), str(error)
    return None


def test_a_bet_has_the_bytes_of_the_contract() -> None:
    """The example of the protocol's page, 45 bytes."""
    bet = Bet(
        agency=1,
        first_name="Santiago Lionel",
        last_name="Lorca",
        document="30904465",
        birthdate="1999-03-17",
        number=7574,
    )
    expected = bytes.fromhex("002b010f") + b"Santiago Lionel\x05Lorca309044651999-03-17" + bytes.fromhex("1d96")
    assert expected == encode(bet, revision=5)
    assert len(expected) == 45


def test_revisions_7_to_9_share_their_bytes() -> None:
    """A typed message is the same on each of them."""
    for message in (BetBatch(bets=[ANA, LONG]), WinnersRequest(agency=3), Probe(line=b"hello\n")):
        assert encode(message, revision=7) == encode(message, revision=8) == encode(message, revision=9)


def test_decoding_takes_any_bytes_like_object() -> None:
    """A bytearray or a memoryview will do."""
    frame = encode(BetBatch(bets=[ANA]))
    assert decode(BetBatch, bytearray(frame)) == decode(BetBatch, memoryview(frame)) == BetBatch(bets=[ANA])


@pytest.mark.parametrize(("kind", "revision"), [(Bet, 8), (BetBatch, 5), (WinnersRequest, 6), (Ack, 9), (str, 8)])
def test_a_message_of_another_revision_is_refused(kind: type[object], revision: int) -> None:
    """No codec is found for a message that the revision does not have."""
    with pytest.raises(LocalProtocolError, match=rf"revision {revision} has no {kind.__name__}"):
        codec_for(kind, revision)


def test_encoding_takes_nothing_but_the_message_of_the_frame() -> None:
    """An object of another class is refused, even one with the same fields or the same name."""
    imitation = type("Bet", (), {})()
    for name in ("agency", "first_name", "last_name", "document", "birthdate", "number"):
        setattr(imitation, name, getattr(ANA, name))
    for codecs in EVERY.values():
        encode_bet = codecs["bet_frame"].encode
        _refuses_what_is_no_bet(encode_bet, imitation)


def _refuses_what_is_no_bet(encode_bet: Callable[[Any], bytes], imitation: object) -> None:
    with pytest.raises(InvalidMessage, match="expected a message of this library, found a Bet of"):
        encode_bet(imitation)
    with pytest.raises(InvalidMessage, match="expected a Bet, found 'a text'"):
        encode_bet("a text")
    with pytest.raises(InvalidMessage, match="expected a Bet, found Ack"):
        encode_bet(Ack(count=1))


@pytest.mark.parametrize(("which", "name"), CODEC_CASES)
def test_every_encoder_refuses_another_message(which: str, name: str) -> None:
    """The bytes of one message never go out as another."""
    codec = EVERY[which][name]
    other = Ack(count=1) if name != "ack" else Probe(line=b"hello")
    with pytest.raises(InvalidMessage, match=f"expected a {codec.frame.class_name}, found {type(other).__name__}"):
        codec.encode(other)


def test_a_batch_above_its_bound_is_not_encoded() -> None:
    """One byte more than 8192 is a mistake of the sender, and nothing is sent; 8192 are fine."""
    room = limits.MAX_FRAME_BYTES - 2 - 15 * len(encode(LONG, revision=5))
    filling = attrs.evolve(ANA, first_name="x" * (room - len(encode(ANA, revision=5)) + 3))
    batch = BetBatch(bets=[LONG] * 15 + [filling])
    assert len(encode(batch)) == 8192
    batch = BetBatch(bets=[LONG] * 15 + [attrs.evolve(filling, last_name="Páz")])
    with pytest.raises(LocalProtocolError, match="a frame of at most 8192 bytes, not 8193"):
        encode(batch)
    # A frame of revision 6 has no type, so there is a byte more of room.
    assert len(PURE["untyped_batch"].encode(batch)) == len(encode(batch, revision=6)) == 8192
    for codecs in EVERY.values():
        with pytest.raises(LocalProtocolError, match="a frame of at most 8192 bytes, not 8193"):
            codecs["bet_batch"].encode(batch)
        longer = BetBatch(bets=[LONG] * 15 + [attrs.evolve(filling, last_name="Páez")])
        with pytest.raises(LocalProtocolError, match="a frame of at most 8192 bytes, not 8193"):
            codecs["untyped_batch"].encode(longer)
