"""The version, written here and nowhere else: the package's metadata is read from this line when it is built."""

from __future__ import annotations

__version__ = "0.1.0"
