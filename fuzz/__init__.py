"""Fuzzing of whatever reads bytes that somebody else wrote.

`targets` says what must hold of any bytes; `corpus/<target>/` has inputs to begin with, and those that once broke
something; `python -m fuzz` makes new ones of them, each target in a process of its own (`worker`). The tests replay
the corpus and feed the targets too. `differential` and `declared` compare the codecs, without an engine.
"""

from __future__ import annotations
