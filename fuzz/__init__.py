"""Fuzzing of whatever reads bytes of a peer.

`targets` says what must hold of any bytes; `corpus/<target>/` has inputs to begin with, and those that once broke
something; `python -m fuzz` makes new ones of them. The tests replay the corpus and feed the targets too.
"""

from __future__ import annotations
