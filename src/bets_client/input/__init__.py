"""The input of an agency: rows of a CSV file as checked bets, and the batches made of them."""

from __future__ import annotations

__all__: list[str] = []
