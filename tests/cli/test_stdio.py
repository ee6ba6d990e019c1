"""Results on standard output: whole, or an error; a reader that has left is none."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from bets_protocol.cli.stdio import OutputError, flush_at_end, prepare, write_remark, write_result


def test_a_closed_stream_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result for a closed standard output is an OutputError."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OutputError, match="cannot write to standard output: I/O operation on closed file"):
        write_result("x")


def test_a_closed_stream_can_be_flushed_at_the_end() -> None:
    """Flushing a closed stream is no error."""
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    flush_at_end(stream)


def test_a_stream_that_is_no_text_file_is_left_alone() -> None:
    """Streams without an encoding, and None, are not changed."""
    prepare(io.StringIO())
    prepare(None)


def test_a_prepared_stream_flushes_each_line_and_escapes_what_it_lacks() -> None:
    """A prepared stream loses no character and no line."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    prepare(stream)
    stream.write("N°1\n")
    assert raw.getvalue() == b"N\\xb01\n"


def _without_reader(program: str) -> tuple[int, bytes]:
    """How `program` ends whose standard output is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from bets_protocol.cli.stdio import *\n{program}"],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_a_reader_that_has_left_costs_no_confirmation_and_not_the_exit_code() -> None:
    """A confirmation needs no reader."""
    assert _without_reader("for _ in range(3): write_result('x' * 100_000, confirms=True)") == (0, b"")


def test_a_reader_that_has_left_is_known_at_each_result() -> None:
    """Also at the second one, which would go to the null device."""
    program = "for _ in range(2):\n try: write_result('x')\n except ReaderLeft: continue\n raise SystemExit(7)"
    assert _without_reader(program) == (0, b"")


def test_a_result_of_nothing_needs_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty result succeeds without standard output."""
    assert _without_reader("for _ in range(3): write_result('')") == (0, b"")
    monkeypatch.setattr(sys, "stdout", None)
    write_result("")


def test_closed_descriptors_are_occupied() -> None:
    """Or the next file would get the number of standard error, and whatever a library prints there."""
    program = (
        "import os; from bets_protocol.cli.stdio import *; occupy_standard_descriptors(); "
        "raise SystemExit(os.open('/dev/null', os.O_RDONLY))"
    )
    done = subprocess.run(["sh", "-c", f'exec {sys.executable} -c "{program}" <&- >&- 2>&-'], timeout=20, check=False)
    assert done.returncode == 3


def test_a_remark_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remark for a closed or missing standard error is dropped."""
    stream = io.StringIO()
    stream.close()
    for stderr in (stream, None):
        monkeypatch.setattr(sys, "stderr", stderr)
        write_remark("x")
