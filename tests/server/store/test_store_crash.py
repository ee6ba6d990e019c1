"""A store whose process is killed: what was acknowledged is there, and of the rest all of a group or nothing.

A few kills, so that every run of the tests has some; thousands of them are for the session that looks for faults.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol import encode_bets
from bets_server.store import open_store
from bets_server.store.conformance.samples import WINNING, append_to, documents, rows_of, sample_batch
from tests.server.store.appender import TOTAL, UPLOAD_ID, bet, group_bets
from tests.server.store.csv_files import lines_of_store

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0
KILLS = 2

URLS = ["sqlite:///{}/bets.db", "csv:///{}/bets.csv"]


@contextlib.contextmanager
def appender(task: str, url: str, number: int) -> Iterator[subprocess.Popen[str]]:
    """The program in another process, killed at the end of the block or at the deadline."""
    command = [sys.executable, "-m", "tests.server.store.appender", task, url, str(number)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        deadline = threading.Timer(DEADLINE_S, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()
            deadline.join()
            process.kill()


def lines(process: subprocess.Popen[str]) -> list[str]:
    """What a killed process has said and nobody has read yet."""
    assert process.stdout is not None
    process.wait(DEADLINE_S)
    return process.stdout.read().splitlines()


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line; empty where the process has ended, which it does at the latest at the deadline."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("url", URLS)
def test_a_killed_store_has_all_that_was_acknowledged(tmp_path: Path, url: str) -> None:
    """Killed again and again at random moments: a prefix of the groups is stored, at most one beyond the last word."""
    url = url.format(tmp_path)
    moments = random.Random(7)
    stored = 0
    for _ in range(KILLS):
        with appender("append", url, stored) as process:
            assert read_line(process) == "open"
            said = [read_line(process) for _ in range(moments.randint(0, 30))]
            time.sleep(moments.uniform(0, 0.01))
            process.kill()
            said += lines(process)
        acknowledged = stored + len(said)
        assert said == [str(group) for group in range(stored, acknowledged)]
        with open_store(url) as store:
            found = documents(store.bets())
        for group in itertools.count():
            expected = documents(bet for bets in group_bets(group) for bet in bets)
            if not found:
                break
            assert found[: len(expected)] == expected
            del found[: len(expected)]
        stored = group
        assert acknowledged <= stored <= acknowledged + 1
    with open_store(url) as store:
        if url.startswith("csv"):
            assert (tmp_path / "bets.csv").read_bytes() == lines_of_store(store)
        agencies = [bet.agency for group in range(stored) for bets in group_bets(group) for bet in bets]
        assert store.state().bets_by_agency == {agency: agencies.count(agency) for agency in set(agencies)}


@pytest.mark.parametrize("url", URLS)
def test_a_killed_upload_goes_on_where_it_was(tmp_path: Path, url: str) -> None:
    """Killed at random moments: what is stored is the beginning of its file, at most one group beyond the last word."""
    url = url.format(tmp_path)
    moments = random.Random(5)
    with open_store(url) as store:
        stored = store.open_upload(9, UPLOAD_ID, total=TOTAL).stored
    for kill in range(KILLS):
        with appender("upload", url, 9) as process:
            assert read_line(process) == str(stored)
            said = [int(read_line(process)) for _ in range(moments.randint(1, 30))]
            time.sleep(moments.uniform(0, 0.01))
            process.kill()
            said += [int(line) for line in lines(process)]
        with open_store(url) as store:
            (upload,) = store.uploads()
            found = list(store.bets())
            assert [*store.audit()][-1].event == ("reopen" if upload.epoch > 1 else "open")
            if url.startswith("csv"):
                assert (tmp_path / "bets.csv").read_bytes() == lines_of_store(store)
        stored = len(found)
        assert said[-1] <= stored <= said[-1] + 3 * 40
        assert found == [bet(row, agency=9) for row in range(stored)]
        assert (upload.stored, upload.epoch, upload.crc32) == (stored, kill + 2, zlib.crc32(encode_bets(found)))


@pytest.mark.parametrize("url", URLS)
def test_a_killed_draw_took_place_or_did_not(tmp_path: Path, url: str) -> None:
    """Killed at random moments of the draw: either not even the agency is sealed, or all winners are there."""
    rows, moments = 4_000, random.Random(11)
    before = tmp_path / "before"
    before.mkdir()
    with open_store(url.format(before)) as store:
        for start in range(0, rows, 1000):
            append_to(store, [sample_batch(range(start, start + 1000), number=WINNING)])
    with_draw = tmp_path / "whole"
    shutil.copytree(before, with_draw)
    with appender("draw", url.format(with_draw), 1) as process:
        read_line(process)
        began = time.monotonic()
        assert "drawn_now=True" in read_line(process)
        takes_s = time.monotonic() - began
    for trial in range(KILLS):
        folder = tmp_path / str(trial)
        shutil.copytree(before, folder)
        with appender("draw", url.format(folder), 1) as process:
            assert read_line(process) == "open"
            time.sleep(moments.uniform(0, takes_s))
            process.kill()
            said = lines(process)
        with open_store(url.format(folder)) as store:
            state = store.state()
            assert (state.number, state.sealed) in [(None, frozenset()), (WINNING, frozenset({1}))]
            assert state.drawn or not said
            assert store.winners(1) == (tuple(rows_of(*range(rows))) if state.drawn else None)
            assert state.bets_by_agency == {1: rows}
