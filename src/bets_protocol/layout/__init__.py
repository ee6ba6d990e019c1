"""The shape of a frame as plain data: its nodes, the rules of their values, and what is wrong with bytes or a value.

The compiler makes a layout from the declarations; generated code carries it. Nothing here needs construct, and nothing
is offered by this door: each module is imported for itself.
"""

from __future__ import annotations

__all__: list[str] = []
