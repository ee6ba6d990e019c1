"""What a client has done when a run is over, compared with the first run: what came instead, or nothing."""

from __future__ import annotations

import signal

from bets_protocol.conformance.against_client.faults import MAX_BUSY
from bets_protocol.conformance.against_client.run import MAX_RETURNS, Run

LEAST_REST_S = 0.1
"""Seconds that `MAX_BUSY` rests take at least, with full jitter from 0.1 s on: all but once in 100,000 runs."""

LEAST_PAUSE_S = 0.5
"""Seconds before a client may ask again for its winners: a quarter of what the protocol says."""


def completed(run: Run, first: Run) -> str:
    """The same job as in the first run, and no word of failure."""
    if run.bets != first.bets:
        return f"{len(run.bets)} bets, not the {len(first.bets)} of the first run, or others, or in another order"
    if not run.bets and not run.asked:
        return "; ".join(["nothing was sent", *filter(None, [ending(run)])])
    if run.revision >= 7 and not run.told:
        return "; ".join(["it did not ask for its winners", *filter(None, [ending(run)])])
    return ending(run)


def ending(run: Run) -> str:
    """How the program has ended, where it was not with exit code 0."""
    if run.gave_up_after_s is not None:
        return f"the client did not end within --timeout: {run.gave_up_after_s:g} s without a byte of it; it was killed"
    if run.exit_code is not None and run.exit_code < 0:
        try:
            return f"the client was killed by {signal.Signals(-run.exit_code).name}"
        except ValueError:
            return f"the client was killed by signal {-run.exit_code}"
    return f"exit code {run.exit_code}" if run.exit_code else ""


def completed_once(run: Run, first: Run) -> str:
    """Likewise, and no more once it had its winners."""
    if run.after_told:
        return f"{run.after_told} messages after it had its winners"
    return completed(run, first)


def read_all(run: Run, first: Run) -> str:
    """Likewise, and it was there when the last of its winners came."""
    return "it ended before the last of its winners had come" if run.left_early else completed_once(run, first)


def not_sent_again(run: Run, _first: Run) -> str:
    """What was refused was not sent for ever, and the program says that it has failed."""
    if run.returns > MAX_RETURNS:
        return f"it sent the refused batch {run.returns} times more, without an end"
    return "exit code 0 though bets were refused" if run.exit_code == 0 else ""


def lost_nothing(run: Run, _first: Run) -> str:
    """What had no answer was sent again, or the program says that it has failed."""
    if set(run.lost) <= set(run.bets):
        return ""
    if run.asked:
        return f"it asked for its winners though {len(run.lost)} bets had no answer"
    return f"exit code 0 though {len(run.lost)} bets had no answer" if run.exit_code == 0 else ""


def stayed_away(run: Run, _first: Run) -> str:
    """It has stopped, and says that it has failed."""
    if run.returns:
        return f"{run.returns} messages on new connections"
    return "exit code 0 though it could not hand its bets in" if run.exit_code == 0 else ""


def did_not_guess(run: Run, _first: Run) -> str:
    """It has noticed that the server is of another revision: no bets, no success."""
    if run.bets_elsewhere:
        return f"{run.bets_elsewhere} messages with bets, on another revision"
    if run.returns > MAX_RETURNS:
        return f"{run.returns} uploads more that it tried to open, without an end"
    return "exit code 0 though it could not hand its bets in" if run.exit_code == 0 else ""


def rested(run: Run, _first: Run) -> str:
    """It has rested between its attempts, and says that it has failed."""
    if len(run.attempts) > MAX_BUSY and (took_s := run.attempts[MAX_BUSY] - run.attempts[0]) < LEAST_REST_S:
        return f"{MAX_BUSY + 1} attempts within {took_s:.3f} s"
    return "exit code 0 though it could not hand its bets in" if run.exit_code == 0 else ""


def came_back(run: Run, first: Run) -> str:
    """It has opened its upload again, and done its job."""
    return "it did not open its upload again" if run.opened < 2 else completed(run, first)


def asked_again(run: Run, first: Run) -> str:
    """It has asked again for its winners, on the same connection, and not at once."""
    if run.returns:
        return "it asked again on another connection"
    if len(run.attempts) > 1 and (pause_s := run.attempts[1] - run.attempts[0]) < LEAST_PAUSE_S:
        return f"it asked again after {pause_s:.3f} s"
    return completed(run, first)


def asked_until_told(run: Run, first: Run) -> str:
    """It has asked again on a new connection."""
    return "it did not ask again for its winners" if run.asked < 2 else completed(run, first)
