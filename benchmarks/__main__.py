"""All measurements, or the named parts: `python -m benchmarks [--quick] [PART...]`.

With ``--quick`` every part runs once over little data and writes nothing: it shows that the programs still work, in
less than a minute. Without, they write tables to benchmarks/results/ and plots to docs/, in about ten minutes on two
quiet cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import codec, end_to_end, intake, scale, windows
from benchmarks.measure import load_average, say
from benchmarks.processes import end_cleanly_when_told

Part = Callable[[Sequence[str]], None]

PARTS: Mapping[str, Part] = {
    "codec": codec.main,
    "end-to-end": end_to_end.main,
    "intake": intake.main,
    "windows": windows.main,
    "scale": scale.main,
}


def main() -> int:
    """Runs the parts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all of them")
    parser.add_argument("--quick", action="store_true", help="little data, no results")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    end_cleanly_when_told()
    if os.getloadavg()[0] > 1 and not options.quick:
        say(f"others are at work on this machine ({load_average()}): the figures will say little")
    for name in options.parts or PARTS:
        start = time.monotonic()
        PARTS[name](["--quick"] if options.quick else [])
        say(f"{name}: {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
