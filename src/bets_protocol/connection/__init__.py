"""The two ends of the protocol without sockets: bytes in, messages out, and the order of the messages."""

from __future__ import annotations

from bets_protocol.connection.client import ClientConnection
from bets_protocol.connection.server import CLOSED, NEED_DATA, InvalidFrame, ServerConnection
from bets_protocol.connection.turns import CLIENT_REVISIONS, SERVER_REVISIONS

__all__ = [
    "CLIENT_REVISIONS",
    "CLOSED",
    "NEED_DATA",
    "SERVER_REVISIONS",
    "ClientConnection",
    "InvalidFrame",
    "ServerConnection",
]
