"""The door of the library: what it offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bets_protocol
from bets_protocol import BetsError, InvalidMessage, OpenUpload, ProtocolError, RejectCode

OFFERED = """
    CLIENT_REVISIONS CLOSED NEED_DATA SERVER_REVISIONS __version__ limits
    Ack Bet BetBatch EncodedBatch InvalidFrame BetRun Message OpenUpload Probe UploadStatus Winners WinnersRequest
    ClientConnection ServerConnection
    batches decode decode_bets documents_with_number encode encode_bets
    survey_runs
    BetsError ConfigError ConnectError DecodeError FrameTooLarge InvalidMessage InvalidValue LocalProtocolError
    PeerClosed ProtocolError ReadError RejectCode RemoteProtocolError SequenceError StorageError TransportError
    TransportTimeout TruncatedFrame WriteError
""".split()


def test_the_library_offers_these_names() -> None:
    """A name that disappears breaks programs of others."""
    assert set(OFFERED) <= set(bets_protocol.__all__)
    assert len(bets_protocol.__all__) == len(set(bets_protocol.__all__))
    assert [name for name in bets_protocol.__all__ if not hasattr(bets_protocol, name)] == []


def test_importing_the_library_loads_nothing_heavy() -> None:
    """Neither construct, which costs 100 ms, nor what opens sockets, starts threads or reads settings."""
    heavy = ("construct", "hypothesis", "yaml", "click", "socket", "ssl", "selectors", "sqlite3")
    # What is there before is not the library's: a measurement of coverage brings modules of its own.
    program = "import sys; before = set(sys.modules); import bets_protocol\n"
    program += f"print([name for name in {heavy!r} if name in set(sys.modules) - before])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"


def test_every_error_is_a_bets_error() -> None:
    """One `except` catches all that the library raises on purpose."""
    errors = [found for name in OFFERED if isinstance(found := getattr(bets_protocol, name), type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) >= 18
    assert [error for error in errors if not issubclass(error, BetsError)] == []
    assert issubclass(bets_protocol.TransportTimeout, TimeoutError)
    assert issubclass(bets_protocol.ConfigError, ValueError)


def test_an_error_says_where_what_and_why() -> None:
    """Place, expectation and finding, as far as they are known."""
    error = ProtocolError("expected a number", path="bets[3].number", offset=12, found="'x'", code=RejectCode.BAD_BET)
    assert str(error) == "bets[3].number at byte 12: expected a number, found 'x'"
    assert error.summary == "bets[3].number at byte 12: expected a number"
    assert error.code is RejectCode.BAD_BET
    assert str(ProtocolError("too late")) == "too late"
    assert str(ProtocolError("too long", offset=3)) == "at byte 3: too long"
    assert ProtocolError("busy", code=RejectCode.BUSY).retryable


def test_limits_are_those_of_the_contract() -> None:
    """The numbers that other programs rely on."""
    limits = bets_protocol.limits
    assert (
        limits.MAX_FRAME_BYTES,
        limits.MAX_BATCH_BETS,
        limits.MAX_WINNERS,
        limits.MAX_PROBE_BYTES,
        limits.MAX_NAME_BYTES,
        limits.MAX_AGENCY,
        limits.MAX_DRAW_ID,
        limits.MAX_BETTING_NUMBER,
        limits.DEFAULT_BATCH_MAX,
    ) == (8192, 255, 65535, 1024, 255, 255, 4_294_967_295, 9999, 130)


def test_the_largest_draw_is_what_the_wire_carries() -> None:
    """Its field holds that number and no larger one."""
    largest = bets_protocol.limits.MAX_DRAW_ID
    OpenUpload(agency=1, draw=largest, total=1, upload_id=bytes(16))
    with pytest.raises(InvalidMessage, match="draw"):
        OpenUpload(agency=1, draw=largest + 1, total=1, upload_id=bytes(16))


def test_codes_have_their_numbers() -> None:
    """They travel in UploadStatus, so none may change; only these are worth another try."""
    assert [(code.value, code.name) for code in RejectCode] == list(
        enumerate(
            "OK BAD_FRAME BAD_BET NOT_AUTHORIZED FENCED MISMATCH OVERRUN SEALED DRAW_CLOSED INCOMPLETE BUSY STORE_FULL "
            "LIMIT SHUTTING_DOWN WRONG_DRAW MODE_CONFLICT DRAWN".split()
        )
    )
    assert [code.value for code in RejectCode if code.retryable] == [10, 11, 12, 13]
