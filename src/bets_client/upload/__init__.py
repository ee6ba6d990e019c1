"""What the command line adds to the library's client: the identity of a file's upload, log lines, progress, advice."""

from __future__ import annotations

__all__: list[str] = []
