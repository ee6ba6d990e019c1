"""The codecs to test: the pure one, and the one that runs where that is another."""

from __future__ import annotations

import attrs

from bets_protocol.codec import CODECS, Codec
from bets_protocol.generated import codec as pure

PURE: dict[str, Codec] = {
    name: attrs.evolve(
        codec, **{verb: getattr(pure, f"{verb}_{name}") for verb in ("check", "decode", "encode", "scan")}
    )
    for name, codec in CODECS.items()
}

NATIVE = [name for name, codec in CODECS.items() if codec.check is not PURE[name].check]
"""The frames whose codec runs in C; none where the pure codec runs."""

EVERY: dict[str, dict[str, Codec]] = {"pure": PURE, "running": CODECS} if NATIVE else {"pure": PURE}

CODEC_CASES = [*(("pure", name) for name in CODECS), *(("running", name) for name in NATIVE)]
"""Each codec with each kind of frame that it has."""
