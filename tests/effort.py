"""How many random examples a test tries: all of them on the first Python of a run, a quarter on the others.

What random bytes find is found on one version of Python or on all of them; what differs between versions (attrs, the
C interface, threads) the other tests show, which are the same everywhere. A quarter is enough, too, where the tests run
once more to measure coverage.
"""

from __future__ import annotations

import os

import hypothesis

FULL_EXAMPLES = 100

_SHARES = {"default": 1.0, "ci": 1.0, "few": 0.25}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
_DERANDOMIZED = bool(os.environ.get("CI"))

for _name, _share in _SHARES.items():
    hypothesis.settings.register_profile(
        _name,
        max_examples=int(FULL_EXAMPLES * _share),
        deadline=None,
        derandomize=_DERANDOMIZED or _name == "ci",
        print_blob=True,
    )
hypothesis.settings.load_profile(PROFILE)


def examples(count: int) -> int:
    """`count` examples, or the share of them that this run tries; never fewer than five."""
    return max(min(count, 5), int(count * _SHARES.get(PROFILE, 1.0)))
