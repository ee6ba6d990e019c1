"""The eight steps in containers: builds the images, runs each scenario in a Compose project of its own, cleans up.

Usage: ``python -m tests.campaigns.containers [--only NAME,NAME] [--keep-images]``
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.campaigns.containers.engine import Failed, base_image, call, missing
from tests.campaigns.containers.scenarios import SCENARIOS
from tests.campaigns.containers.system import System


def say(text: str) -> None:
    """Prints at once: a run takes minutes."""
    print(text, flush=True)


def _run(names: list[str], prefix: str, folder: Path) -> int:
    """Run scenarios; gives how many failed."""
    base = base_image()
    started = time.monotonic()
    images = System(folder / "images", prefix, prefix)
    images.build(base)
    sizes = call("docker", "image", "inspect", "-f", "{{.Size}}", base, *images.images()).stdout.split()
    of_base, *ours = (int(size) / 1e6 for size in sizes)
    say(f"images on {base} ({of_base:.0f} MB): server +{ours[0] - of_base:.0f} MB, client +{ours[1] - of_base:.0f} MB")
    say(f"ok    {'build':20} {time.monotonic() - started:6.1f} s")
    failed = 0
    for scenario in SCENARIOS:
        if scenario.__name__ not in names:
            continue
        began = time.monotonic()
        system = System(folder / scenario.__name__, f"{prefix}-{scenario.__name__.replace('_', '-')}", prefix)
        try:
            scenario(system, base)
            verdict, why = "ok", ""
        except Failed as error:
            failed += 1
            verdict, why = "FAIL", f"\n{error}"
        finally:
            left = system.down()
        say(f"{verdict:5} {scenario.__name__:20} {time.monotonic() - began:6.1f} s{why}")
        if left:
            say(f"      the engine did not let everything go: {left}")
    say(f"{failed} failed, {time.monotonic() - started:.0f} s in all")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """The program; gives its exit code: 0, 1 where something failed, 2 where nothing can run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.containers", description=(__doc__ or "").splitlines()[0]
    )
    known = [scenario.__name__ for scenario in SCENARIOS]
    parser.add_argument("--only", default=",".join(known), help=f"comma-separated, of: {', '.join(known)}")
    parser.add_argument("--keep-images", action="store_true", help="leave the two images behind")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown scenarios: {', '.join(unknown)}; known are {', '.join(known)}")
    if reason := missing():
        say(f"cannot run: {reason}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is taken away
    prefix = f"bets-check-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="bets-containers-") as folder:
        try:
            return 1 if _run(names, prefix, Path(folder)) else 0
        except Failed as error:
            say(f"FAIL: {error}")
            return 1
        finally:
            if not options.keep_images:
                call("docker", "rmi", "-f", f"{prefix}-server", f"{prefix}-client", code=None)


if __name__ == "__main__":
    sys.exit(main())
