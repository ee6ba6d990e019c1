"""Verdicts on a run that is over, compared with the first run: what the client did wrong, or an empty string.

What a client should do is said by the rule of the scenario.
"""

from __future__ import annotations

import signal

from bets_protocol.conformance.against_client.faults import MAX_BUSY
from bets_protocol.conformance.against_client.run import MAX_RETURNS, Run

LEAST_REST_S = 0.1
"""Seconds that `MAX_BUSY` rests take at least. Full jitter from 0.1 s on takes less once in 100,000 runs."""

LEAST_PAUSE_S = 0.5
"""Seconds before a client may ask again for its winners: a quarter of the protocol's 2 s."""


def completed(run: Run, first: Run) -> str:
    """It has done the same job as in the first run and reports no failure."""
    if run.bets != first.bets:
        return f"{len(run.bets)} bets, not the {len(first.bets)} of the first run, or others, or in another order"
    if not run.bets and not run.asked:
        return "; ".join(filter(None, ["nothing was sent", _ending(run)]))
    if run.revision >= 7 and not run.told:
        return "; ".join(filter(None, ["it did not ask for its winners", _ending(run)]))
    return _ending(run)


def _ending(run: Run) -> str:
    """How the program ended, if not with exit code 0."""
    if run.gave_up_after_s is not None:
        return f"the client did not end within --timeout: {run.gave_up_after_s:g} s without a byte of it; it was killed"
    if run.exit_code is not None and run.exit_code < 0:
        try:
            return f"the client was killed by {signal.Signals(-run.exit_code).name}"
        except ValueError:
            return f"the client was killed by signal {-run.exit_code}"
    return f"exit code {run.exit_code}" if run.exit_code else ""


def _no_success(run: Run, failure: str) -> str:
    """The program must report `failure`, if the runner started it and so knows its exit code."""
    return f"exit code 0 though {failure}" if run.exit_code == 0 else ""


def completed_once(run: Run, first: Run) -> str:
    if run.after_told:
        return f"{run.after_told} messages after it had its winners"
    return completed(run, first)


def read_all(run: Run, first: Run) -> str:
    return "it ended before the last of its winners had come" if run.left_early else completed_once(run, first)


def not_sent_again(run: Run, _first: Run) -> str:
    if run.returns > MAX_RETURNS:
        return f"it sent the refused batch {run.returns} times more, without an end"
    return _no_success(run, "bets were refused")


def lost_nothing(run: Run, _first: Run) -> str:
    if set(run.lost) <= set(run.bets):
        return ""
    if run.asked:
        return f"it asked for its winners though {len(run.lost)} bets had no answer"
    return _no_success(run, f"{len(run.lost)} bets had no answer")


def stayed_away(run: Run, _first: Run) -> str:
    if run.returns:
        return f"{run.returns} messages on new connections"
    return _no_success(run, "it could not hand its bets in")


def did_not_guess(run: Run, _first: Run) -> str:
    if run.bets_elsewhere:
        return f"{run.bets_elsewhere} messages with bets, on another revision"
    if run.returns > MAX_RETURNS:
        return f"{run.returns} uploads more that it tried to open, without an end"
    return _no_success(run, "it could not hand its bets in")


def rested(run: Run, _first: Run) -> str:
    if len(run.attempts) > MAX_BUSY and (took_s := run.attempts[MAX_BUSY] - run.attempts[0]) < LEAST_REST_S:
        return f"{MAX_BUSY + 1} attempts within {took_s:.3f} s"
    return _no_success(run, "it could not hand its bets in")


def came_back(run: Run, first: Run) -> str:
    return "it did not open its upload again" if run.opened < 2 else completed(run, first)


def asked_again(run: Run, first: Run) -> str:
    if run.returns:
        return "it asked again on another connection"
    if len(run.attempts) > 1 and (pause_s := run.attempts[1] - run.attempts[0]) < LEAST_PAUSE_S:
        return f"it asked again after {pause_s:.3f} s"
    return completed(run, first)


def asked_until_told(run: Run, first: Run) -> str:
    return "it did not ask again for its winners" if run.asked < 2 else completed(run, first)
