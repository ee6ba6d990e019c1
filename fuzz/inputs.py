"""The inputs that are kept, and how a finding becomes one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).resolve().parent / "corpus"

MAX_KEPT: Final = 40
"""Inputs of one target in the corpus, so that the tests can replay all of them every time."""

MAX_KEPT_BYTES: Final = 10_000


def corpus_of(name: str, corpus: Path = CORPUS) -> list[Path]:
    """The inputs that are kept for a target, in order."""
    return sorted((corpus / name).glob("*.bin"))


def name_of(data: bytes) -> str:
    """What names an input that nobody has named."""
    return hashlib.sha256(data).hexdigest()[:12]


def keep(name: str, data: bytes, corpus: Path = CORPUS, *, prefix: str = "found-") -> Path:
    """Write an input into the corpus of a target; gives its path."""
    path = corpus / name / f"{prefix}{name_of(data)}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def known_inputs(names: Iterable[str], corpus: Path = CORPUS) -> list[bytes]:
    """Everything that is kept for some targets, each input once."""
    return list(dict.fromkeys(path.read_bytes() for name in names for path in corpus_of(name, corpus)))
