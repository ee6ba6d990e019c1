"""Deadlines that move with progress, and rests with full jitter."""

from __future__ import annotations

from bets_protocol.client.retry import MAX_BACKOFF_S, MIN_BACKOFF_S, Backoff, RetryDeadline


def test_patience_is_over_at_its_limit_and_renewed_by_progress() -> None:
    """The deadline moves when a bet is stored."""
    patience = RetryDeadline(1000)
    assert 0 < patience.left_s <= 1000
    patience._until -= 1001
    assert (patience.over, patience.left_s) == (True, 0.0)
    patience.renew()
    assert (patience.over, patience.left_s > 900) == (False, True)


def test_an_attempt_to_connect_has_the_time_that_is_left_but_always_some() -> None:
    """An attempt has at most 10 s and at least 0.1 s."""
    assert RetryDeadline(1000).connect_timeout_s == 10.0
    assert 4 < RetryDeadline(5).connect_timeout_s <= 5
    assert RetryDeadline(0).connect_timeout_s == 0.1


def test_rests_grow_with_full_jitter_and_begin_again_after_progress() -> None:
    """The back-off doubles up to its bound and is drawn at random."""
    bounds = [min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2**attempt) for attempt in range(12)]
    seen: list[list[float]] = [[] for _ in bounds]
    for _ in range(200):
        backoff = Backoff()
        for rests in seen:
            rests.append(backoff.next_s())
        backoff.reset()
        assert backoff.next_s() <= MIN_BACKOFF_S
    for rests, bound in zip(seen, bounds, strict=True):
        assert 0 <= min(rests) < bound / 4
        assert bound * 3 / 4 < max(rests) <= bound
