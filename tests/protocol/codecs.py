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

EVERY: dict[str, dict[str, Codec]] = {"pure": PURE}
if CODECS["ack"].check is not PURE["ack"].check:
    EVERY["running"] = CODECS

CODEC_CASES = [(which, name) for which in EVERY for name in CODECS]
"""Each codec with each kind of frame."""
