"""Results on standard output: whole, or an error; a reader that has left is none."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from bets_protocol.programs.output import OutputError, flush_at_end, prepare, write_result


def test_a_closed_stream_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OutputError, match="cannot write to standard output: I/O operation on closed file"):
        write_result("x")


def test_a_closed_stream_can_be_flushed_at_the_end() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    flush_at_end(stream)


def test_a_stream_that_is_no_text_file_is_left_alone() -> None:
    prepare(io.StringIO())
    prepare(None)


def test_a_prepared_stream_flushes_each_line_and_escapes_what_it_lacks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    prepare(stream)
    stream.write("N°1\n")
    assert raw.getvalue() == b"N\\xb01\n"


def test_a_reader_that_has_left_costs_neither_later_results_nor_the_exit_code() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "from bets_protocol.programs.output import write_result\nfor _ in range(3): write_result('x' * 100_000)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, timeout=20, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
