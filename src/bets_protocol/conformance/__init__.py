"""Checks servers and clients in any language against docs/protocol.md, rule by rule.

This door offers nothing: each module is imported for itself, so that `--help` does not load the checks.
"""

from __future__ import annotations

__all__: list[str] = []
