"""Every error and every piece of data can be copied, pickled and sent to a worker process and back.

The classes are found by walking the modules, so that a new one is covered, or asks for a sample, by itself.
"""

from __future__ import annotations

import copy
import datetime
import enum
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import signal
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import construct as c
import pytest

import bets_protocol
import bets_protocol.transports
from bets_protocol import (
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    BetRun,
    BetsError,
    EncodedBatch,
    InvalidFrame,
    InvalidValue,
    OpenUpload,
    Probe,
    ProtocolError,
    RejectCode,
    TransportTimeout,
    UploadStatus,
    Winners,
    WinnersRequest,
    codec_info,
)
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.transports import OwnCertificate, PeerCertificate, TlsFiles, Url, parse_url

PACKAGES = ("bets_protocol", "bets_server", "bets_client")
PROJECT = Path(__file__).resolve().parent.parent


def _classes() -> Iterator[type[Any]]:
    """Every class of our own that a module of ours has, each once."""
    seen = set()
    for package in PACKAGES:
        found = importlib.import_module(package)
        for info in pkgutil.walk_packages(found.__path__, f"{package}."):
            if info.name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(info.name)).values():
                if isinstance(value, type) and value.__module__.partition(".")[0] in PACKAGES and value not in seen:
                    seen.add(value)
                    yield value


ERRORS = sorted((kind for kind in _classes() if issubclass(kind, BaseException) and kind.__name__[0] != "_"), key=repr)
PUBLIC_DATA = [
    kind
    for module in (bets_protocol, bets_protocol.transports)
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type) and attrs.has(kind)
]

BET = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=7574)
LOT = BetRun(agency=1, count=1, encoded=bets_protocol.encode_bets([BET]))
SAMPLES: tuple[Any, ...] = (
    BET,
    BetBatch(bets=(BET, BET)),
    Ack(count=1),
    WinnersRequest(agency=1),
    Winners(documents=("30904465",)),
    Probe(line=b"hello\n"),
    OpenUpload(agency=1, draw=2, total=3, upload_id=bytes(16)),
    UploadStatus(code=RejectCode.BUSY, draw=1, stored=2, crc32=3),
    LOT,
    EncodedBatch(count=1, runs=(LOT,)),
    codec_info(),
    parse_url("tls://central:12345"),
    PeerCertificate(uris=("agency:1",), fingerprint="ab" * 32, not_after="2027-01-31T12:00:00Z"),
    TlsFiles(ca=Path("ca.pem")),
    OwnCertificate(path=Path("cert.pem"), encoded=b"0", not_before=None, not_after=datetime.datetime.now(datetime.UTC)),
    RejectCode.LIMIT,
    ExitCode.REFUSED,
    NEED_DATA,
)
INVALID_FRAME = InvalidFrame(kind=Bet, count=0, error=InvalidValue("expected a day", path="birthdate", offset=3))
MADE_OF: dict[object, Any] = {
    str: "what is wrong",
    int: int(signal.SIGTERM),
    RejectCode | None: RejectCode.BUSY,
    RejectCode: RejectCode.SEALED,
    int | None: 3,
    ExitCode: ExitCode.REFUSED,
    Any: "x" / c.Int8ub,
}


def made(kind: type[BaseException]) -> BaseException:
    """An error of `kind`: an argument of its type for each parameter."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return kind("what is wrong")
    types = typing.get_type_hints(kind.__init__)
    arguments = {parameter.name: MADE_OF[types[parameter.name]] for parameter in parameters}
    error = kind(**arguments)
    error.add_note("and a note")
    return error


def pickled(protocol: int, value: Any) -> Any:
    """What comes out of a pickle."""
    return pickle.loads(pickle.dumps(value, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": partial(pickled, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


def assert_same(expected: BaseException, actual: BaseException) -> None:
    """Two errors of one class that say and know the same."""
    assert type(expected) is type(actual)
    assert (str(expected), expected.args, vars(expected)) == (str(actual), actual.args, vars(actual))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_an_error_stays_what_it_is(kind: type[BaseException], way: str) -> None:
    """With its class, text, attributes and notes."""
    error = made(kind)
    assert_same(error, WAYS[way](error))


@pytest.mark.parametrize("way", WAYS)
def test_data_stays_what_it_is(way: str) -> None:
    """Messages, and whatever else is public data."""
    for sample in SAMPLES:
        again = WAYS[way](sample)
        assert (again, type(again)) == (sample, type(sample))
        assert not isinstance(sample, enum.Enum) or again is sample
    again = WAYS[way](INVALID_FRAME)
    assert (again.kind, again.count) == (Bet, 0)
    assert_same(INVALID_FRAME.error, again.error)


def test_every_public_class_has_a_sample() -> None:
    """One that is new is missing here."""
    assert set(PUBLIC_DATA) - {InvalidFrame, *map(type, SAMPLES)} == set()
    assert len(ERRORS) >= 40
    assert Url in PUBLIC_DATA


def test_the_error_of_the_system_keeps_its_number() -> None:
    """A `TransportTimeout` is an OSError, which makes more of two arguments."""
    error = TransportTimeout(110, "Connection timed out")
    for way in WAYS.values():
        assert (way(error).errno, way(error).strerror, str(way(error))) == (110, error.strerror, str(error))


def test_an_error_of_somebody_else_that_is_one_of_ours_can_be_sent() -> None:
    """Also where its class is made from other things than its text."""
    for way in WAYS.values():
        again = way(OfSomebodyElse(7, wanted=8))
        assert (str(again), again.seen, again.wanted) == ("7 instead of 8", 7, 8)


class OfSomebodyElse(BetsError):
    """An error of a program that uses the library."""

    def __init__(self, seen: int, *, wanted: int) -> None:
        super().__init__(f"{seen} instead of {wanted}")
        self.seen, self.wanted = seen, wanted


def test_an_error_takes_the_number_of_its_code() -> None:
    """A number is as good as the member, and one that is none is refused."""
    error = ProtocolError("busy", code=10)  # type: ignore[arg-type]
    assert (error.code, error.retryable) == (RejectCode.BUSY, True)
    with pytest.raises(ValueError, match="99"):
        ProtocolError("busy", code=99)  # type: ignore[arg-type]


def test_all_of_them_go_to_a_worker_process_and_back() -> None:
    """In a pool of real processes, as values and as what a worker raises."""
    # Its own process: a pool leaves the tracker of its resources behind until the process ends.
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_copies"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(ERRORS)} errors, {len(SAMPLES) + 1} values\n"


def same(value: Any) -> Any:
    """What the worker does with a value."""
    return value


def fail(kind: type[BaseException]) -> None:
    """What the worker raises."""
    raise made(kind)


def main() -> None:
    """Sends everything there and back."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for kind in ERRORS:
            assert_same(made(kind), pool.submit(same, made(kind)).result())
            if issubclass(kind, Exception):
                raised = pool.submit(fail, kind).exception()
                assert raised is not None
                assert_same(made(kind), raised)
        for sample in SAMPLES:
            assert pool.submit(same, sample).result() == sample
        assert_same(INVALID_FRAME.error, pool.submit(same, INVALID_FRAME).result().error)
    print(f"{len(ERRORS)} errors, {len(SAMPLES) + 1} values")


if __name__ == "__main__":
    main()
