"""What the compiler wrote, and `support`, the one module here that is written by hand: what generated code calls.

It has no names of its own: the messages need `layouts` and `values` before `codec` can need the messages.
"""

from __future__ import annotations

__all__: list[str] = []
