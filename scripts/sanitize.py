"""The native codec under AddressSanitizer and UndefinedBehaviorSanitizer, then under valgrind.

Builds the extension anew with the sanitizers in it, and runs every function of it over sound and mutated
frames and over the fuzzing corpus. A finding of either tool ends the run with a non-zero exit code.
Needs gcc with its sanitizers, and valgrind.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "bets_protocol"
SOURCE = PACKAGE / "generated" / "_native.c"
CORPUS = ROOT / "fuzz" / "corpus"
COMPILER = os.environ.get("CC", "gcc")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")


def build(folder: Path, *flags: str) -> Path:
    """The extension, built into `folder` with `flags`."""
    target = folder / f"_native{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{PACKAGE / 'compiler' / 'c'}"]
    command = [COMPILER, "-shared", "-fPIC", "-g", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter"]
    command += ["-Wno-type-limits", "-Werror", *flags, *includes, str(SOURCE), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def write_frames(path: Path, count: int) -> None:
    """Sound and mutated frames of every kind and the corpus, a line each: the frame's name and its bytes."""
    sys.path.insert(0, str(ROOT))
    from bets_protocol.compiler.bets import NATIVE_FRAMES
    from fuzz import differential

    rng = random.Random(1)
    corpus = [file.read_bytes() for file in sorted(CORPUS.rglob("*")) if file.is_file()]
    with path.open("w", encoding="ascii") as lines:
        for schema in (frame for frame in differential.FRAMES if frame.name in NATIVE_FRAMES):
            sound = differential.samples(schema)
            mutants = [differential.mutant(rng.choice(sound), rng) for _ in range(count // len(NATIVE_FRAMES))]
            for data in (*sound, *mutants, *corpus):
                lines.write(f"{schema.name} {data.hex()}\n")


def replay(extension: Path, frames: Path) -> None:
    """Every function of `extension` on every frame of the file; errors are what is expected of bad ones."""
    loader = importlib.machinery.ExtensionFileLoader("bets_protocol.generated._native", str(extension))
    spec = importlib.util.spec_from_file_location("bets_protocol.generated._native", extension, loader=loader)
    if spec is None:
        raise RuntimeError(f"{extension} cannot be loaded")
    # Before the package looks for its own.
    sys.modules["bets_protocol.generated._native"] = module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    from bets_protocol import BetsError
    from bets_protocol.codec import backend

    if backend.native_module() is not module:
        raise RuntimeError(f"the extension under test does not run: {backend.codec_info()}")
    count = refused = 0
    for line in frames.read_text("ascii").splitlines():
        name, _, digits = line.partition(" ")
        data = bytes.fromhex(digits)
        count += 1
        try:
            getattr(module, f"check_{name}")(data)
            if getattr(module, f"encode_{name}")(getattr(module, f"decode_{name}")(data)) != data:
                raise RuntimeError(f"{name} {digits}: encoded as other bytes")
        except BetsError:
            refused += 1
        _scan_in_pieces(getattr(module, f"scan_{name}"), data)
        _cut_and_search(module, data)
    print(f"{count} frames, {refused} of them refused")


def _cut_and_search(module: ModuleType, data: bytes) -> None:
    """As bets, which most of it is not: from each place at which a batch may begin them, and from wrong ones."""
    for start in (-1, 0, 1, 2, len(data) - 1, len(data), len(data) + 1):
        module.split_bets(data, start)
    bets = data[2:]  # bytes of their own, so that reading behind them shows
    for number in (0, 1, 7574, int.from_bytes(data[-2:], "big"), 2**64):
        module.survey_bets([([bets, data], 0), ([bets[:at] for at in range(len(bets))], 1), ([bets] * 3, 2)], number)


def _scan_in_pieces(scanner: Callable[[bytearray], Iterator[int]], data: bytes) -> None:
    """Every position at which a scanner may have to stop."""
    from bets_protocol import BetsError

    buffer = bytearray()
    scan = scanner(buffer)
    needed = 0
    try:
        for byte in data:
            buffer.append(byte)
            if len(buffer) >= needed and (needed := next(scan, 0)) == 0:
                return
    except BetsError:
        return


def errors_of_the_extension(log: str) -> list[str]:
    """The errors in valgrind's `log` that happened in the extension, or in what it has called directly.

    The interpreter reads memory that it has not written too, which is not what is looked for here.
    """
    found = []
    for block in re.split(r"(?m)^==\d+== *\n", log):
        stack = [line for line in block.splitlines() if re.match(r"==\d+==    (at|by) ", line)]
        if any("_native." in line for line in stack[:2]):
            found.append(block)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both tools; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--frames", type=int, default=20_000, help="mutants under the sanitizers; a tenth under valgrind"
    )
    parser.add_argument("--extension", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.extension:
        replay(options.extension, options.replay)
        return 0
    missing = [tool for tool in (COMPILER, "valgrind") if shutil.which(tool) is None]
    if missing:
        sys.stderr.write(f"needs {' and '.join(missing)}\n")
        return 1
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    with tempfile.TemporaryDirectory(prefix="bets-sanitize-") as name:
        folder = Path(name)
        frames, log = folder / "frames", folder / "valgrind.log"
        itself = [sys.executable, str(Path(__file__).resolve()), "--replay", str(frames), "--extension"]
        write_frames(frames, options.frames)
        print("== AddressSanitizer and UndefinedBehaviorSanitizer", flush=True)
        sanitized = build(folder, "-O1", *SANITIZERS)
        subprocess.run([*itself, str(sanitized)], env={**environment, **_sanitizer_environment()}, check=True)
        print("== valgrind", flush=True)
        write_frames(frames, options.frames // 10)
        plain = build(folder, "-O1")
        valgrind = ["valgrind", "--leak-check=no", "--error-limit=no", f"--log-file={log}"]
        subprocess.run([*valgrind, *itself, str(plain)], env=environment, check=True)
        found = errors_of_the_extension(log.read_text(encoding="utf-8", errors="replace"))
        for block in found:
            print(block)
        print(f"{len(found)} errors in the extension")
        return 1 if found else 0


def _sanitizer_environment() -> dict[str, str]:
    """The sanitizers' libraries must come before anything else in the process, and a finding must end it."""
    libraries = [
        subprocess.run(
            [COMPILER, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps memory to its end: leaks are looked for by a soak
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


if __name__ == "__main__":
    sys.exit(main())
