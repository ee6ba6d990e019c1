"""Made-up declarations, compiled and compared: `python -m fuzz.declared --declarations 500`.

Each declaration is drawn by hypothesis (any nesting of the supported constructs), compiled to Python and to C, and both
are compared with construct itself on sound and mutated bytes: verdict, value, bytes when encoded again, and where a
scanner finds the end. All C goes into one extension module, so one run of the compiler serves all. The first
disagreement ends the run with the layout and the bytes.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import construct as c
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bets_protocol import BetsError
from bets_protocol.compiler import CompiledSchema, UnsupportedConstruct, compile_schema
from bets_protocol.compiler.c.module import HEADERS, emit_c_module
from bets_protocol.layout import nodes as ir
from bets_protocol.testing.strategies import values
from fuzz.differential import Disagreement, mutant
from tests.protocol.declarations import declarations, plain_value

SAMPLES = 4
"""Sound frames drawn for each declaration."""

MUTANTS = 25
"""Mutants of each sound frame."""

_SHOWN = 2000
"""Characters of a disagreement that are shown."""

VERBS = ("check", "decode", "encode", "scan")


@attrs.frozen
class Subject:
    """One declaration, compiled, with sound frames of it."""

    name: str
    reference: Any
    compiled: CompiledSchema
    sound: tuple[bytes, ...]


def draw(count: int, *, start: int) -> list[Subject]:
    """`count` declarations that differ, the same ones for the same `start`."""
    subjects: list[Subject] = []
    layouts: set[ir.Node] = set()

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(declarations(), st.data())
    def collect(declaration: Any, data: st.DataObject) -> None:
        name = f"f{len(subjects)}"
        try:
            compiled = compile_schema(declaration, name=name)
        except UnsupportedConstruct:
            return
        sound = []
        try:
            for _ in range(SAMPLES):
                sound.append(compiled.encode(data.draw(values(compiled.layout, compiled.classes))))
        except BetsError:
            pass  # a message that would pass its bound: those before it will do
        if sound and compiled.layout not in layouts:
            layouts.add(compiled.layout)
            subjects.append(Subject(name, c.Sequence(declaration, c.Terminated), compiled, tuple(sound)))

    while len(subjects) < count:
        before = len(subjects)
        collect()
        start += 1
        collect = seed(start)(collect)
        if len(subjects) == before:
            break
    return subjects[:count]


def build_native(subjects: Sequence[Subject], folder: Path) -> ModuleType | None:
    """All of them in one extension module, or None where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    # Every declaration has classes of its own, which may have the names of another's.
    frames = {s.name: _renamed(s.compiled.layout, f"{s.name}_") for s in subjects}
    source, target = folder / "declared.c", folder / f"declared{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    source.write_text(emit_c_module("declared", frames), encoding="utf-8")
    includes = [f"-I{folder}" for folder in (sysconfig.get_path("include"), HEADERS)]
    subprocess.run([compiler, "-shared", "-fPIC", "-O0", "-w", *includes, str(source), "-o", str(target)], check=True)
    loader = importlib.machinery.ExtensionFileLoader("declared", str(target))
    spec = importlib.util.spec_from_file_location("declared", target, loader=loader)
    if spec is None:
        raise RuntimeError(f"{target} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    classes = {f"{s.name}_{name}": cls for s in subjects for name, cls in s.compiled.classes.items()}
    pure = {f"{verb}_{s.name}": getattr(s.compiled, verb) for s in subjects for verb in VERBS}
    module.bind(classes, pure)
    return module


def _renamed(node: ir.Node, prefix: str) -> ir.Node:
    match node:
        case ir.Record(name=name, fields=fields):
            return ir.Record(
                prefix + name, tuple(ir.Field(field.name, _renamed(field.node, prefix)) for field in fields)
            )
        case ir.Region(sub=sub) | ir.Bounded(sub=sub):
            return attrs.evolve(node, sub=_renamed(sub, prefix))
        case ir.Array(item=item):
            return attrs.evolve(node, item=_renamed(item, prefix))
        case ir.Switch(cases=cases):
            return attrs.evolve(node, cases=tuple((number, _renamed(case, prefix)) for number, case in cases))
        case _:
            return node


def compare(subject: Subject, native: ModuleType | None, data: bytes) -> str:
    """The verdict that all agree on.

    Raises:
        Disagreement: they do not.
    """
    compiled = subject.compiled
    codecs: list[Mapping[str, Callable[..., Any]]] = [{verb: getattr(compiled, verb) for verb in VERBS}]
    if native is not None:
        codecs.append({verb: getattr(native, f"{verb}_{subject.name}") for verb in VERBS})

    def fail(what: object) -> Disagreement:
        return Disagreement(f"{compiled.layout!r}\n{data.hex()}: {str(what)[:_SHOWN]}")

    try:
        parsed = subject.reference.parse(data)[0]
    except c.ConstructError:
        parsed = None
    outcomes = [_outcome(codec["decode"], data) for codec in codecs]
    checked = [_outcome(codec["check"], data)[1] for codec in codecs]
    scans = [_scan(codec["scan"], data) for codec in codecs]
    value, error = outcomes[0]
    if any(other != error or repr(found) != repr(value) for found, other in outcomes):
        raise fail(outcomes)
    if any(found != error for found in checked) or any(found != scans[0] for found in scans):
        raise fail((error, checked, scans))
    if (parsed is None) != bool(error):
        raise fail(f"construct gives {parsed}, we say {error or 'it is sound'}")
    if error:
        return error.split(":", 1)[0]
    # By their texts, since a NaN equals nothing.
    if repr(plain_value(compiled.layout, value)) != repr(plain_value(compiled.layout, parsed)):
        raise fail(f"we decode {value}, construct gives {parsed}")
    if scans[0] != len(data) and not _ends_with_line(data):
        raise fail(f"scanned as {scans[0]}")
    # Not compared with `data`: a NaN has many forms, and a boolean-like constant may be written in one only.
    encoded = [_outcome(codec["encode"], value) for codec in codecs]
    if any(found != encoded[0] for found in encoded):
        raise fail(encoded)
    return "sound"


def _ends_with_line(data: bytes) -> bool:
    return not data.endswith(b"\n")


def _outcome(call: Callable[[Any], Any], argument: Any) -> tuple[Any, str]:
    try:
        return call(argument), ""
    except BetsError as error:
        return None, f"{type(error).__name__}: {error}"


def _scan(scanner: Callable[[bytearray], Any], data: bytes) -> int | str:
    """Where the scanner finds the end, fed byte by byte; -1 where it wants more; or what it says is wrong."""
    buffer = bytearray()
    scan = scanner(buffer)
    needed = 0
    try:
        for byte in (None, *data):
            if byte is not None:
                buffer.append(byte)
            if len(buffer) >= needed:
                needed = next(scan)
    except StopIteration as end:
        return int(end.value)
    except BetsError as error:
        return f"{type(error).__name__}: {error}"
    return -1


def run(count: int, *, start: int = 1) -> tuple[Counter[str], int, bool]:
    """Compares `count` declarations; returns how often each verdict came, how many there were, and whether in C too.

    Raises:
        Disagreement: at the first one.
    """
    rng = random.Random(start)
    verdicts: Counter[str] = Counter()
    subjects = draw(count, start=start)
    with tempfile.TemporaryDirectory(prefix="bets-declared-") as name:
        native = build_native(subjects, Path(name))
        for subject in subjects:
            for sound in subject.sound:
                for data in (sound, *(mutant(sound, rng) for _ in range(MUTANTS))):
                    verdicts[compare(subject, native, data)] += 1
    return verdicts, len(subjects), native is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--declarations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        verdicts, count, in_c = run(options.declarations, start=options.seed)
    except Disagreement as error:
        sys.stderr.write(f"seed {options.seed}: {error}\n")
        return 1
    codecs = "construct, Python and C" if in_c else "construct and Python (there is no C compiler)"
    total = verdicts.total()
    sys.stdout.write(f"{codecs} agree on {count} declarations, {total} frames: {dict(verdicts.most_common())}\n")
    return 0 if count >= options.declarations else 1


if __name__ == "__main__":
    sys.exit(main())
