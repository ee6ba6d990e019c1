"""Certificates for the tests of TLS: two authorities for each module, and what the first has signed."""

from __future__ import annotations

import pytest

from bets_protocol.transports import TlsFiles
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> TlsFiles:
    return authority.server()


@pytest.fixture(scope="module")
def agency_files(authority: Authority) -> TlsFiles:
    return authority.agency(5)
