"""Checks servers and clients in whatever language against docs/protocol.md, rule by rule.

`against_server` is a client that checks a server; `against_client` is a server that checks a client. Both use the
library's own codec and connections, so nothing of the wire is written here again. This door offers nothing: each module
is imported for itself, so that a program that only shows its help does not load the others.
"""

from __future__ import annotations

__all__: list[str] = []
