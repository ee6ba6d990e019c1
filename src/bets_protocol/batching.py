"""Puts bets into batches that are as full as their two bounds allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bets_protocol.codec import CODECS, codec_for
from bets_protocol.encoded import header_size
from bets_protocol.errors import LocalProtocolError
from bets_protocol.limits import DEFAULT_BATCH_MAX, MAX_BATCH_BETS, MAX_FRAME_BYTES
from bets_protocol.messages import Bet, BetBatch


def batches(
    bets: Iterable[Bet],
    *,
    max_amount: int = DEFAULT_BATCH_MAX,
    max_bytes: int = MAX_FRAME_BYTES,
    revision: int = 8,
) -> Iterator[BetBatch]:
    """`bets` in order, in batches such that the next bet would break a bound of its batch.

    Args:
        bets: any number of bets; read as far as the batches are asked for.
        max_amount: bets in a batch at most, 1 to 255.
        max_bytes: bytes of a whole frame at most; never above 8192.
        revision: 6 or above; says how large the frame's header is.

    Raises:
        LocalProtocolError: a bound that no batch can keep; while iterating, a bet that alone is above `max_bytes`.
    """
    if not 1 <= max_amount <= MAX_BATCH_BETS:
        raise LocalProtocolError(f"expected 1 to {MAX_BATCH_BETS} bets a batch, not {max_amount}")
    header = header_size(codec_for(BetBatch, revision).frame.layout)
    return _filled(bets, max_amount, header, min(max_bytes, MAX_FRAME_BYTES))


def _filled(bets: Iterable[Bet], max_amount: int, header: int, bound: int) -> Iterator[BetBatch]:
    encode = CODECS["bet_frame"].encode
    waiting: list[Bet] = []
    size = header
    for bet in bets:
        bet_size = len(encode(bet))
        if header + bet_size > bound:
            raise LocalProtocolError(f"a bet of {bet_size} bytes does not fit a batch of {bound} bytes")
        if size + bet_size > bound or len(waiting) == max_amount:
            yield BetBatch(bets=waiting)
            waiting, size = [], header
        waiting.append(bet)
        size += bet_size
    if waiting:
        yield BetBatch(bets=waiting)
