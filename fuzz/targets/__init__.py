"""The targets: functions of bytes, each of which states one invariant and fails where it does not hold.

Nothing in here knows which engine makes the bytes, and no target keeps anything from one input to the next: an input
fails the same way every time. A new target is a function in one of these modules and a line in `TARGETS`; its first
inputs go to ``fuzz/corpus/<target>/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from fuzz.targets.damaged_stores import book, damage
from fuzz.targets.files import rows, settings
from fuzz.targets.lying_server import upload
from fuzz.targets.real_server import sessions
from fuzz.targets.single_texts import texts
from fuzz.targets.wire import client, codec, native, runs, schema, server

Target: TypeAlias = Callable[[bytes], None]

_ALL: Final = (server, client, codec, runs, native, schema, rows, settings, texts, upload, damage, book, sessions)

TARGETS: Final[Mapping[str, Target]] = {target.__name__: target for target in _ALL}

NATIVE: Final = frozenset({"native", "schema"})
"""Those that run over the native codec. The others run over the pure one, so that its coverage leads the engine."""

SEEDS: Final[Mapping[str, tuple[str, ...]]] = {"native": ("server", "client", "codec", "runs"), "schema": ("codec",)}
"""Whose corpora a target starts from as well."""
