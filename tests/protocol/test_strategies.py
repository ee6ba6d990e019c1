"""The strategies that the library offers for tests: what they draw is good, and reaches the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bets_protocol import encode
from bets_protocol.codec import CODECS
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose import encoded_size, explain_value
from bets_protocol.layout.rules import Characters, digits
from bets_protocol.testing.strategies import any_message, bets, damaged, messages, values
from tests.effort import examples

T = TypeVar("T")


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """The same `count` examples every time."""
    found: list[T] = []

    @seed(1)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found


def unreached(found: list[T], **edges: Callable[[T], bool]) -> list[str]:
    """The names of the edges that none of `found` reaches."""
    return [name for name, reached in edges.items() if not any(map(reached, found))]


def test_bets_reach_the_edges() -> None:
    """Names that fill their bytes, of characters of several bytes; the ends of every range."""
    missing = unreached(
        drawn(bets(), 300),
        full_of_wide_characters=lambda bet: len(bet.first_name.encode()) == 255 and not bet.first_name.isascii(),
        both_names_full=lambda bet: len(bet.first_name.encode()) == len(bet.last_name.encode()) == 255,
        shortest_name=lambda bet: len(bet.last_name.encode()) == 1,
        characters_of_four_bytes=lambda bet: max(bet.first_name) > "\uffff",
        largest_number=lambda bet: bet.number == 9999,
        smallest_number=lambda bet: bet.number == 0,
        largest_agency=lambda bet: bet.agency == 255,
    )
    assert missing == []


def test_batches_reach_the_edges() -> None:
    """One bet, very many, a frame that is as good as full, several agencies."""
    missing = unreached(
        drawn(messages("bet_batch"), 150),
        one_bet=lambda batch: len(batch.bets) == 1,
        many_bets=lambda batch: len(batch.bets) > 100,
        a_full_frame=lambda batch: len(encode(batch)) > 8150,
        several_agencies=lambda batch: len({bet.agency for bet in batch.bets}) > 2,
    )
    assert missing == []


def test_other_messages_reach_the_edges() -> None:
    """No winners and hundreds; lines of one byte and of 1024, with and without an end."""
    missing = unreached(
        drawn(messages("probe"), 100),
        one_byte=lambda probe: len(probe.line) == 1,
        longest_line=lambda probe: len(probe.line) == 1025,
        longest_line_without_end=lambda probe: len(probe.line) == 1024 and not probe.line.endswith(b"\n"),
    ) + unreached(
        drawn(messages("winners"), 100),
        none=lambda winners: not winners.documents,
        hundreds=lambda winners: len(winners.documents) > 200,
    )
    assert missing == []


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=examples(20))
@given(data=st.data())
def test_every_message_can_be_encoded(name: str, data: st.DataObject) -> None:
    """And the size that the layout gives it is the size that it has."""
    message = data.draw(messages(name))
    assert encoded_size(CODECS[name].frame.layout, message) == len(CODECS[name].encode(message))


def test_any_message_is_of_every_class() -> None:
    """All of them turn up."""
    assert {type(message) for message in drawn(any_message(), 100)} == {
        codec.message_class for codec in CODECS.values()
    }


TEXTS = [
    ir.Text(prefix=ir.Int(1), rule=Characters(label="Greek", allowed=((0x3B1, 0x3C9),), excluded=((0x3C2, 0x3C2),))),
    ir.Text(prefix=ir.Int(1), rule=Characters(label="two ends", allowed=((0x61, 0x61), (0x4E00, 0x4E10)), min_bytes=7)),
    ir.Text(prefix=ir.Int(4)),
    ir.Text(prefix=ir.Int(1), encoding="ascii"),
    ir.Text(5),
    ir.Text(0),
    ir.Text(8, encoding="ascii", rule=digits()),
]


@pytest.mark.parametrize("node", TEXTS)
@settings(max_examples=examples(40))
@given(data=st.data())
def test_texts_keep_any_rule(node: ir.Text, data: st.DataObject) -> None:
    """Of any set of characters, with any bounds on their bytes."""
    assert explain_value(node, data.draw(values(node))) is None


@pytest.mark.parametrize("node", [ir.Const(1, ir.Int(1)), ir.Switch("kind", ((1, ir.Int(1)),))])
def test_what_stands_in_no_message_has_no_values(node: ir.Node) -> None:
    """A constant is not held, and the cases of a switch depend on the record around it."""
    with pytest.raises(TypeError, match="has no values of its own"):
        values(node)


def test_damage_of_every_kind_is_done() -> None:
    """Shorter, longer, as long and another, all gone."""
    missing = unreached(
        drawn(damaged(st.just(b"abcdefgh")), 200),
        shorter=lambda data: 0 < len(data) < 8,
        longer_inside=lambda data: len(data) > 8 and not data.startswith(b"abcdefgh"),
        longer_behind=lambda data: len(data) > 8 and data.startswith(b"abcdefgh"),
        changed=lambda data: len(data) == 8 and data != b"abcdefgh",
        gone=lambda data: data == b"",
    )
    assert missing == []
