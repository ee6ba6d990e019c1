"""What an agency may ask, and the answer: on threads of their own, a group of requests in one commit."""

from __future__ import annotations

__all__: list[str] = []
