"""May this go on? Places for connections and handshakes, complaints, uploads that are opened again too often."""

from __future__ import annotations

__all__: list[str] = []
