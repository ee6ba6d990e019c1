"""Attacks on a real server, while an honest client works: what they cost it, and that they end.

Usage: ``nox -s attacks -- [--only ROW-or-NAME,...] [--seconds N] [--keep DIR] [--strict] [--minutes N]``

How much the honest client was slowed down is measured and shown, and fails the run only with ``--strict``: on a machine
that others use it says more of them than of the server. Everything else is judged in any case: who is cut and when,
memory, descriptors, the log, the answers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.campaigns.attacks.campaign import ATTACKS, chosen, run_campaign
from tests.campaigns.attacks.soak import run_soak


def say(text: str) -> None:
    """Prints at once: a campaign takes minutes."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The program; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.attacks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    names = ", ".join(f"{attack.name} ({attack.row})" for attack in ATTACKS.values())
    parser.add_argument("--only", default="", help=f"rows or names, comma-separated, of: {names}")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="that the honest client is measured before and after (default 3)"
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep the folders of failing attacks in DIR")
    parser.add_argument("--minutes", type=float, help="instead of all that: a soak of attacks, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the soak (default 1)")
    parser.add_argument("--strict", action="store_true", help="fail where the honest client was slowed down, too")
    options = parser.parse_args(arguments)
    if options.minutes is not None:
        return 0 if run_soak(options.minutes * 60, seed=options.seed, keep=options.keep, say=say) else 1
    try:
        attacks = chosen([each for each in options.only.split(",") if each])
    except KeyError as error:
        parser.error(f"there is no attack {error}; there are {names}")
    good = run_campaign(attacks, seconds=options.seconds, keep=options.keep, strict=options.strict, say=say)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
