"""Every error of the tree has its exit code."""

from __future__ import annotations

import pytest

import bets_protocol as library
from bets_protocol.cli.exit_codes import ExitCode, ProgramError, exit_code_of


class _Refused(ProgramError):
    exit_code = ExitCode.REFUSED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (library.ConfigError("x"), 2),
        (library.ConnectError("x"), 4),
        (library.TransportTimeout("x"), 4),
        (library.PeerClosed("x"), 4),
        (library.DecodeError("x"), 5),
        (library.SequenceError("x"), 5),
        (library.StorageError("x"), 8),
        (library.LocalProtocolError("x"), 1),
        (library.InvalidMessage("x"), 1),
        (library.BetsError("x"), 1),
        (_Refused("x"), 6),
        (ProgramError("x"), 1),
    ],
)
def test_an_error_means_an_exit_code(error: library.BetsError, code: int) -> None:
    """Each class of the library's errors has one code."""
    assert exit_code_of(error) == code


def test_the_numbers_are_those_of_the_contract() -> None:
    """Names and numbers of the exit codes are fixed."""
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "BUG": 1,
        "USAGE": 2,
        "BAD_INPUT": 3,
        "UNREACHABLE": 4,
        "PROTOCOL": 5,
        "REFUSED": 6,
        "NOT_DRAWN": 7,
        "STORE_FAILED": 8,
        "OUTPUT": 9,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }
