"""What the tests draw: the library's strategies, and what is made of them: frames, good and almost good, and cuts."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from bets_protocol.codec import CODECS
from bets_protocol.testing.pair import Cut, at_places, at_random, byte_by_byte, whole
from bets_protocol.testing.strategies import any_message, bets, damaged, messages, values

__all__ = ["any_message", "bets", "cuts", "damaged", "frames", "frames_or_damaged", "messages", "values"]


def frames(frame_name: str) -> st.SearchStrategy[bytes]:
    """Whole good frames of one kind."""
    return messages(frame_name).map(CODECS[frame_name].encode)


def frames_or_damaged(frame_name: str) -> st.SearchStrategy[bytes]:
    """Frames of one kind, good or damaged, and bytes that are nothing at all."""
    good = frames(frame_name)
    return st.one_of(damaged(good), damaged(good), good, st.binary(max_size=60))


def cuts() -> st.SearchStrategy[Cut]:
    """Ways to cut bytes into the pieces that arrive."""
    return st.one_of(
        st.sampled_from((whole, byte_by_byte)),
        st.lists(st.integers(1, 600), max_size=6).map(at_places),
        st.integers(0, 2**32).map(lambda seed: at_random(random.Random(seed))),
    )
