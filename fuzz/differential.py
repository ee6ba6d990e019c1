"""construct, the pure codec and the native codec on the same bytes: `python -m fuzz.differential --frames 100000`.

construct is the reference: it parses from the declarations themselves. The other two are generated from them. For every
frame, sound or mutated or random, all must agree on the verdict, on the value, and on the bytes when the value is
encoded again; the two that give reasons must give the same ones. The first disagreement ends the run with its bytes.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import construct as c
from hypothesis import HealthCheck, Phase, given, seed, settings

from bets_protocol import BetsError, DecodeError, InvalidValue
from bets_protocol.codec.backend import codec_info, native_module
from bets_protocol.generated import codec as pure
from bets_protocol.schema import FRAMES as FRAMES
from bets_protocol.schema import FrameSchema
from bets_protocol.testing.strategies import messages

SAMPLES = 150
"""Sound messages of each kind, which the mutants are made from."""

_LARGEST_SAMPLE = 700
"""Bytes of a sample: construct takes its time over every bet, and a mutant is wrong in the first ones or never."""


class Disagreement(AssertionError):
    """Two of the three say different things about the same bytes."""


@attrs.frozen
class Trio:
    """One kind of frame in all its codecs."""

    schema: FrameSchema
    reference: Any
    codecs: tuple[Any, ...]

    @classmethod
    def of(cls, schema: FrameSchema) -> Trio:
        """The codecs of `schema`: the native one only where it was built and has the frame."""
        # What is behind the frame counts too, which construct by itself would not look at.
        reference = c.Sequence(schema.layout, c.Terminated)
        native = native_module()
        return cls(schema, reference, (pure, native) if hasattr(native, f"decode_{schema.name}") else (pure,))

    def compare(self, data: bytes) -> str:
        """The verdict on `data` that all agree on.

        Raises:
            Disagreement: they do not.
        """
        name = self.schema.name
        try:
            parsed = self.reference.parse(data)[0]
        except c.ConstructError:
            parsed = None
        verdicts = [_verdict(getattr(codec, f"decode_{name}"), data) for codec in self.codecs]
        checks = [_verdict(getattr(codec, f"check_{name}"), data) for codec in self.codecs]
        first, error = verdicts[0]
        for value, other in verdicts:
            if value != first or other != error:
                raise Disagreement(f"{name} {data.hex()}: {verdicts}")
        for _, other in checks:
            if other != error:
                raise Disagreement(f"{name} {data.hex()}: checked as {checks}, decoded as {verdicts}")
        if (parsed is None) != bool(error):
            raise Disagreement(f"{name} {data.hex()}: construct gives {parsed}, we say {error or 'it is sound'}")
        if error:
            return error.split(":", 1)[0]
        if not _same(first, parsed):
            raise Disagreement(f"{name} {data.hex()}: construct gives {parsed}, we decode {first}")
        for codec in self.codecs:
            if getattr(codec, f"encode_{name}")(first) != data:
                raise Disagreement(f"{name} {data.hex()}: encoded as other bytes")
        if self.schema.layout.build(_plain(first)) != data:
            raise Disagreement(f"{name} {data.hex()}: construct builds other bytes")
        return "sound"


def _verdict(call: Callable[[bytes], Any], data: bytes) -> tuple[Any, str]:
    try:
        return call(data), ""
    except (DecodeError, InvalidValue) as error:
        return None, f"{type(error).__name__}: {error}"


def _same(ours: Any, parsed: Any) -> bool:
    if attrs.has(type(ours)):
        return all(_same(getattr(ours, field.name), parsed[field.name]) for field in attrs.fields(type(ours)))
    if isinstance(ours, tuple):
        return len(ours) == len(parsed) and all(map(_same, ours, parsed))
    return bool(ours == parsed)


def _plain(ours: Any) -> Any:
    if attrs.has(type(ours)):
        return {field.name: _plain(getattr(ours, field.name)) for field in attrs.fields(type(ours))}
    return [_plain(item) for item in ours] if isinstance(ours, tuple) else ours


def samples(schema: FrameSchema, *, number: int = SAMPLES, start: int = 1) -> list[bytes]:
    """Sound frames of `schema`, small enough for construct, the same for the same `start`."""
    found: list[bytes] = []
    encode = getattr(pure, f"encode_{schema.name}")

    @seed(start)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(messages(schema.name))
    def collect(message: Any) -> None:
        found.append(encode(message))

    collect()
    return [data for data in found if len(data) <= _LARGEST_SAMPLE] or found[:1]


def mutant(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to three of its bytes changed, gone or joined by others; rarely, other bytes altogether."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(64))
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        near_front = rng.random() < 0.5
        at = rng.randrange(min(len(found), 8) + 1 if near_front else len(found) + 1)
        match rng.randrange(6):
            case 0 if at < len(found):
                found[at] = rng.choice((0, 1, 0x1F, 0x20, 0x2D, 0x30, 0x7F, 0x80, 0x9F, 0xC3, 0xED, 0xF4, 0xFF))
            case 1 if at < len(found):
                found[at] = (found[at] + rng.choice((1, -1))) & 0xFF
            case 2 if at < len(found):
                found[at] = rng.randrange(256)
            case 3 if at < len(found):
                del found[at]
            case 4:
                found.insert(at, rng.randrange(256))
            case _:
                del found[at:]
    return bytes(found)


def run(frames: int, *, start: int = 1, number: int = SAMPLES) -> Counter[str]:
    """Compares `frames` frames, as many of every kind; returns how often each verdict came.

    Args:
        frames: how many, sound ones first, then mutants of these.
        start: the seed.
        number: sound frames of each kind.

    Raises:
        Disagreement: at the first one.
    """
    rng = random.Random(start)
    verdicts: Counter[str] = Counter()
    for schema in FRAMES:
        trio = Trio.of(schema)
        sound = samples(schema, number=number, start=start)
        for index in range(-(-frames // len(FRAMES))):
            data = sound[index] if index < len(sound) else mutant(rng.choice(sound), rng)
            verdicts[trio.compare(data)] += 1
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        verdicts = run(options.frames, start=options.seed)
    except (Disagreement, BetsError) as error:
        sys.stderr.write(f"seed {options.seed}: {error}\n")
        return 1
    codecs = "construct, pure and native" if native_module() else f"construct and pure ({codec_info().reason})"
    sys.stdout.write(f"{codecs} agree on {verdicts.total()} frames: {dict(verdicts.most_common())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
