# Generated functions of the C extension; each has a pure twin in _generated_codec, whose types say more.
from collections.abc import Callable
from typing import Any

DIGEST: str

def bind(classes: dict[str, type], pure: dict[str, Callable[..., Any]], /) -> None: ...
def __getattr__(name: str) -> Callable[..., Any]: ...
