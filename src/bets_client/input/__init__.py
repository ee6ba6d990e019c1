"""What an agency has: rows of a CSV file as checked bets, and the batches that are made of them."""

from __future__ import annotations

__all__: list[str] = []
