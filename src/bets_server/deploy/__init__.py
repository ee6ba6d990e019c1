"""Prepares an installation: certificates, the Compose file."""

from __future__ import annotations

__all__: list[str] = []
