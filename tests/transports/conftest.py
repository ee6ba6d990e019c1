"""Certificates for the tests of TLS: two authorities for each module, and what the first has signed."""

from __future__ import annotations

import pytest

from bets_protocol.transports import TlsFiles
from tests.certificates import Authority, authority, stranger

__all__ = ["authority", "stranger"]


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> TlsFiles:
    return authority.server()


@pytest.fixture(scope="module")
def agency_files(authority: Authority) -> TlsFiles:
    return authority.agency(5)
