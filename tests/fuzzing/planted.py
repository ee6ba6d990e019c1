"""Targets with planted bugs, for the tests of the fuzzer: it must find them."""

from __future__ import annotations

import os
import time

MARK = b"!"


def no_mark(data: bytes) -> None:
    """No input has the mark."""
    assert MARK not in data, "planted"


def no_bug(data: bytes) -> None:
    """Whatever comes."""


def dies(data: bytes) -> None:
    """The process itself ends, which no `except` sees."""
    if len(data) > 3:
        os._exit(3)


def sleeps(_: bytes) -> None:
    """Takes its time, but not too much of it."""
    time.sleep(0.01)


TARGETS = {target.__name__: target for target in (no_mark, no_bug, dies, sleeps)}
