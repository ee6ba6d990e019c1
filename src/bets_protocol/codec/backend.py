"""Which codec runs: the native one where it was built, and from the same layouts; else the pure one.

The native one has the frames of the hot path; small control messages are read and written by the pure one. Both are
made from the same declarations and give the same answers, so only `bets_protocol.codec` has to know which it is.
`BETS_PURE=1` in the environment forces the pure one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs

from bets_protocol import messages
from bets_protocol.generated import codec as pure
from bets_protocol.generated.layouts import FRAMES
from bets_protocol.layout.nodes import records

PURE_VARIABLE = "BETS_PURE"


@attrs.frozen(kw_only=True)
class CodecInfo:
    """Which codec runs.

    Attributes:
        kind: "native" or "pure".
        reason: why it is not the native one; empty where it is.
        digest: names the layouts and the code that both were made from.
    """

    kind: str
    reason: str
    digest: str

    def __str__(self) -> str:
        return f"{self.kind} codec" + (f": {self.reason}" if self.reason else "")


def _load_native() -> tuple[ModuleType | None, str]:
    """The native module, bound to the message classes; or None, and why."""
    if os.environ.get(PURE_VARIABLE, "") not in ("", "0"):
        return None, f"{PURE_VARIABLE} is set"
    try:
        import bets_protocol.generated._native as native  # noqa: PLC0415  # it may not be there, or not be wanted
    except ImportError as error:
        return None, "it was not built" if isinstance(error, ModuleNotFoundError) else str(error)
    if native.DIGEST != pure.NATIVE_DIGEST:
        return None, "it was built from other layouts: install the package again"
    classes = {record.name: getattr(messages, record.name) for frame in FRAMES for record in records(frame.layout)}
    native.bind(classes, {name: value for name, value in vars(pure).items() if callable(value)})
    return native, ""


_NATIVE, _REASON = _load_native()


def codec_info() -> CodecInfo:
    """Which codec runs in this process, and why it is not the native one."""
    return CodecInfo(kind="pure" if _NATIVE is None else "native", reason=_REASON, digest=pure.NATIVE_DIGEST)


def native_module() -> ModuleType | None:
    """The native codec where it runs, else None."""
    return _NATIVE


def codec_function(name: str) -> Callable[..., Any]:
    """The function `name`, as ``decode_bet_batch``, of the codec that runs."""
    found: Callable[..., Any] = getattr(_NATIVE, name, None) or getattr(pure, name)
    return found
