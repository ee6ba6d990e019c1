"""A client of the server: `connect`, then `upload` and `winners`. It connects again and resumes by itself.

`bets_protocol.aio` has the same for asyncio. The rules are conversations without I/O, which both drive.
"""

from __future__ import annotations

from bets_protocol.client.agency import AtLeastOnceResult, UploadResult
from bets_protocol.client.blocking import Client, connect
from bets_protocol.client.options import Settings

__all__ = ["AtLeastOnceResult", "Client", "Settings", "UploadResult", "connect"]
