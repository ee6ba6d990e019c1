"""A client of the server: uploads bets, asks for winners, connects again. Its rules are generators without I/O.

`driver` runs them in the calling thread. This package has sockets and a clock, but no thread of its own.
"""

from __future__ import annotations

from bets_protocol.client.driver import BlockingDriver
from bets_protocol.client.events import Event, Listener
from bets_protocol.client.options import ClientOptions

__all__ = ["BlockingDriver", "ClientOptions", "Event", "Listener"]
