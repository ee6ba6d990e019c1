"""What the command lines of the server and of the client share: settings, log lines, signals, exit codes.

Nothing here knows a message or a frame. This door offers nothing: each module is imported for itself, so that a
program that only shows its help does not load the others.
"""

from __future__ import annotations

__all__: list[str] = []
