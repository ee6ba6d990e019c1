"""CSV rows become bets; whatever is no row is named with its file, line and field."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_client.input.files import agency_in_name, open_csv, resolve_agency
from bets_protocol import Bet, ConfigError
from bets_protocol.client.csv_file import MAX_LINE_BYTES, CsvFile
from bets_protocol.errors import BadRow, InputError
from tests.e2e.processes import DEADLINE_S, PROGRAMS, unmeasured_environment

GOOD = "Santiago Lionel,Lorca,30904465,1999-03-17,7574"
GOOD_BET = Bet(
    agency=1, first_name="Santiago Lionel", last_name="Lorca", document="30904465", birthdate="1999-03-17", number=7574
)


def rows_of(folder: Path, content: bytes, agency: int = 1) -> list[Bet | str]:
    """What a file of `content` gives; an error as its text, with the file's name left out."""
    path = folder / "bets.csv"
    path.write_bytes(content)
    source = CsvFile(str(path), agency)
    try:
        return [str(row).removeprefix(str(path)) if isinstance(row, BadRow) else row for row in source.rows()]
    finally:
        source.close()


@pytest.mark.parametrize(
    "content",
    [
        f"{GOOD}\n",
        f"{GOOD}\r\n",
        GOOD,
        f"\ufeff{GOOD}\r\n",
        f"{GOOD}\n\n\r\n\n",
        '"Santiago Lionel","Lorca","30904465","1999-03-17","7574"\n',
        "Santiago Lionel,Lorca,30904465,1999-03-17,07574\n",
    ],
    ids=["LF", "CRLF", "no end", "BOM", "blank lines at the end", "quoted", "leading zero"],
)
def test_a_row_is_a_bet_of_the_agency(tmp_path: Path, content: str) -> None:
    """Line ends, a BOM, quotes and leading zeros make no difference."""
    assert rows_of(tmp_path, content.encode()) == [GOOD_BET]


def test_a_quoted_field_may_hold_commas_and_quotes(tmp_path: Path) -> None:
    """Quoting follows RFC 4180."""
    (bet,) = rows_of(tmp_path, b'"Ana, ""la"" Rubia",D\'Elia,30904465,1999-03-17,0\n')
    assert isinstance(bet, Bet)
    assert (bet.first_name, bet.last_name) == ('Ana, "la" Rubia', "D'Elia")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (
            b"Ana,Paz,30904465,1999-03-17",
            "row: expected 5 fields (first_name,last_name,document,birthdate,number), found 4",
        ),
        (
            b"Ana,Paz,30904465,1999-03-17,1,",
            "row: expected 5 fields (first_name,last_name,document,birthdate,number), found 6",
        ),
        (b"   ", "row: expected 5 fields (first_name,last_name,document,birthdate,number), found 1"),
        (b"\xff,Paz,30904465,1999-03-17,1", "row: expected UTF-8, found byte 0xff at column 1"),
        (b"Ana,Pa\xc3,30904465,1999-03-17,1", "row: expected UTF-8, found byte 0xc3 at column 7"),
        (b"Ana,\xed\xa0\x80,30904465,1999-03-17,1", "row: expected UTF-8, found byte 0xed at column 5"),
        (b'"Ana,Paz,30904465,1999-03-17,1', "row: expected fields as CSV quotes them: unexpected end of data"),
        (b'"Ana"x,Paz,30904465,1999-03-17,1', "row: expected fields as CSV quotes them: ',' expected after '\"'"),
    ],
)
def test_a_row_of_the_wrong_shape_is_named_with_its_line(tmp_path: Path, row: bytes, error: str) -> None:
    """Wrong counts of fields, bad UTF-8 and bad quotes are errors of the row."""
    content = GOOD.encode() + b"\n" + row + b"\n" + GOOD.encode() + b"\n"
    assert rows_of(tmp_path, content) == [GOOD_BET, f":2: {error}", GOOD_BET]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (",Paz,30904465,1999-03-17,1", "first_name"),
        ("A\x00na,Paz,30904465,1999-03-17,1", "first_name"),
        ("A\x85na,Paz,30904465,1999-03-17,1", "first_name"),
        ("é" * 128 + ",Paz,30904465,1999-03-17,1", "first_name"),
        ("Ana,,30904465,1999-03-17,1", "last_name"),
        ("Ana,Pa\rz,30904465,1999-03-17,1", "last_name"),
        ("Ana," + "x" * 256 + ",30904465,1999-03-17,1", "last_name"),
        ("Ana,Paz,3090446,1999-03-17,1", "document"),
        ("Ana,Paz,309044651,1999-03-17,1", "document"),
        ("Ana,Paz,٣٠٩٠٤٤٦٥,1999-03-17,1", "document"),
        ("Ana,Paz,30904465,1999-02-30,1", "birthdate"),
        ("Ana,Paz,30904465,2020-W01-1,1", "birthdate"),
        ("Ana,Paz,30904465,17/03/1999,1", "birthdate"),
        ("Ana,Paz,30904465,1999-03-17,10000", "number"),
        ("Ana,Paz,30904465,1999-03-17,99999999999999999999", "number"),
        ("Ana,Paz,30904465,1999-03-17,", "number"),
        ("Ana,Paz,30904465,1999-03-17,-1", "number"),
        ("Ana,Paz,30904465,1999-03-17,+5", "number"),
        ("Ana,Paz,30904465,1999-03-17, 5", "number"),
        ("Ana,Paz,30904465,1999-03-17,5 ", "number"),
        ("Ana,Paz,30904465,1999-03-17,1_0", "number"),
        ("Ana,Paz,30904465,1999-03-17,٣", "number"),
        ("Ana,Paz,30904465,1999-03-17,1.0", "number"),
        ("Ana,Paz,30904465,1999-03-17,5\x00", "number"),
        ("Ana,Paz,30904465,1999-03-17,5\r", "number"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_its_field(tmp_path: Path, row: str, field: str) -> None:
    """The error has the line and the field."""
    (error,) = rows_of(tmp_path, f"{row}\r\n".encode())
    assert isinstance(error, str)
    assert error.startswith(f":1: {field}: expected ")
    assert "\n" not in error


def test_names_of_255_bytes_are_good(tmp_path: Path) -> None:
    """The longest names of the protocol are read, in bytes of UTF-8."""
    (bet,) = rows_of(tmp_path, f"{'é' * 127}x,{'y' * 255},30904465,1999-03-17,9999\n".encode())
    assert isinstance(bet, Bet)
    assert (len(bet.first_name.encode()), len(bet.last_name), bet.number) == (255, 255, 9999)


def test_a_blank_line_is_an_error_unless_nothing_follows(tmp_path: Path) -> None:
    """Blank lines count only between rows."""
    content = f"\n{GOOD}\n\r\n\n{GOOD}\n\n".encode()
    blank = "row: expected a row, found a blank line"
    assert rows_of(tmp_path, content) == [f":1: {blank}", GOOD_BET, f":3: {blank}", f":4: {blank}", GOOD_BET]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_one_error_and_the_next_line_is_read(tmp_path: Path, end: bytes) -> None:
    """The rest of an overlong line is skipped."""
    long = b"x" * (3 * MAX_LINE_BYTES)
    expected: list[Bet | str] = [f":1: row: expected a line of at most {MAX_LINE_BYTES} bytes"]
    follower = GOOD.encode() if end else b""
    assert rows_of(tmp_path, long + end + follower) == expected + ([GOOD_BET] if end else [])


def test_the_longest_row_that_can_be_good_is_read(tmp_path: Path) -> None:
    """A row of two names with 255 quotes each is within the bound of a line."""
    quotes = '"' + '""' * 255 + '"'
    (bet,) = rows_of(tmp_path, f"{quotes},{quotes},30904465,1999-03-17,1\r\n".encode())
    assert isinstance(bet, Bet)
    assert bet.last_name == '"' * 255


@given(content=st.binary(max_size=300))
def test_any_bytes_give_bets_or_named_errors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """No input makes the reader raise anything but its own errors."""
    for row in rows_of(tmp_path_factory.mktemp("any"), content):
        assert isinstance(row, Bet) or row.startswith(":")


def test_bets_stops_at_the_first_bad_row(tmp_path: Path) -> None:
    """`bets` gives the good rows before it and raises with file, line and field."""
    path = tmp_path / "bets.csv"
    path.write_text(f"{GOOD}\n{GOOD}\nbad\n{GOOD}\n")
    source = CsvFile(str(path), 1)
    found: list[Bet] = []
    with pytest.raises(BadRow) as caught:
        found.extend(source.bets())
    source.close()
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(path), 3, "row")
    assert found == [GOOD_BET, GOOD_BET]


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_an_input_without_a_row_is_empty(tmp_path: Path, content: bytes) -> None:
    """A file of line ends or a BOM alone is refused as empty."""
    path = tmp_path / "bets.csv"
    path.write_bytes(content)
    source = CsvFile(str(path), 1)
    with pytest.raises(
        InputError, match=r"bets.csv: the file is empty: expected rows of first_name,last_name,document"
    ):
        list(source.bets())
    source.close()


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.csv", "No such file"), (".", "Is a directory"), ("a\x00b", "embedded null")]
)
def test_an_input_that_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str) -> None:
    """The error of the system is shown with the path."""
    with pytest.raises(InputError, match=f"cannot read it: {reason}"):
        CsvFile(str(tmp_path / name), 1)


def test_a_source_can_be_read_again_from_its_start(tmp_path: Path) -> None:
    """A second reading gives the same bets, and closing twice has no effect."""
    path = tmp_path / "bets.csv"
    path.write_text(f"\ufeff{GOOD}\n{GOOD}\n")
    source = CsvFile(str(path), 7)
    first, second = list(source.bets()), list(source.bets())
    source.close()
    source.close()
    assert first == second
    assert [bet.agency for bet in first] == [7, 7]


def test_a_pipe_can_be_read_again_too(tmp_path: Path) -> None:
    """What comes through a pipe is copied, so it can be read twice."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(f"{GOOD}\n",))
    writer.start()
    source = CsvFile(str(path), 1)
    writer.join(20)
    assert list(source.bets()) == list(source.bets()) == [GOOD_BET]
    source.close()


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input, and errors call it `<stdin>`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{GOOD}\nbad\n".encode())))
    source = open_csv("-", 1)
    rows = list(source.rows())
    source.close()
    assert rows[0] == GOOD_BET
    assert str(rows[1]).startswith("<stdin>:2: row: expected 5 fields")


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard input gets an error that says so."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="<stdin>: standard input is closed"):
        open_csv("-", 1)


def test_standard_input_that_cannot_be_read_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary copy is closed when reading fails."""
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", stream)
    stream.buffer.close()
    with pytest.raises(InputError, match="<stdin>: cannot read it"):
        open_csv("-", 1)


@pytest.mark.parametrize(("command", "pipe"), [("check", "-"), ("send --agency 1", "-"), ("check", "/dev/stdin")])
@pytest.mark.parametrize(
    ("blocks", "how"),
    [
        # The one is met while the copy grows, the other when Python looks for a folder that can be written.
        (8, r"in .*: File too large, after [48],[0-9]{3} bytes"),
        (0, r"No usable temporary directory found in \[.*\]"),
    ],
)
def test_a_copy_that_cannot_be_written_is_told_from_what_it_copies(
    tmp_path: Path, command: str, pipe: str, blocks: int, how: str
) -> None:
    """Exit code 2: where the copy lies, how large it got, and what to do; it is the setting that is wrong."""
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; cat | "$@"', "sh", PROGRAMS / "bets-client", *command.split(), pipe],
        input=f"{GOOD}\n".encode() * 5_000,
        cwd=tmp_path,
        env=unmeasured_environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    name = "<stdin>" if pipe == "-" else pipe
    assert done.returncode == 2
    assert re.fullmatch(
        f"bets-client: {name}: cannot copy it to a temporary file: {how}; set TMPDIR to a folder that can be written "
        "and has room for all of it, or name a file instead\n",
        done.stderr.decode(),
    ), done.stderr


def test_a_file_that_breaks_while_it_is_read_is_named(tmp_path: Path) -> None:
    """An error of the system in the middle of a file is bad input."""
    path = tmp_path / "bets.csv"
    path.write_text(f"{GOOD}\n")
    source = CsvFile(str(path), 1)
    directory = os.open(tmp_path, os.O_RDONLY)
    os.dup2(directory, source._file.fileno())
    os.close(directory)
    with pytest.raises(InputError, match=r"bets\.csv: cannot read it: Is a directory"):
        list(source.bets())
    source.close()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Neither many rows nor a long line take more than 200 kB."""
    path = tmp_path / "bets.csv"
    path.write_text(f"{GOOD}\n" * 8_000 + "x" * 3_000_000)
    source = CsvFile(str(path), 1)
    tracemalloc.start()
    try:
        rows = sum(1 for _ in source.rows())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        source.close()
    assert (rows, peak < 200_000) == (8_001, True)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("agency-1.csv", 1),
        ("/data/agency-255.csv", 255),
        ("agency-007.csv", 7),
        ("agency.csv", None),
        ("agency-1.csv.bak", None),
        ("Agency-1.csv", None),
        ("agency-1/bets.csv", None),
        ("agency-٣.csv", None),
        ("-", None),
    ],
)
def test_the_name_of_a_file_may_say_its_agency(path: str, number: int | None) -> None:
    """Only `agency-N.csv` names an agency, whatever the folder."""
    assert agency_in_name(path) == number


@pytest.mark.parametrize("number", ["0", "256", "9" * 5000])
def test_a_name_with_an_impossible_agency_is_refused(number: str) -> None:
    """A number outside 1 to 255 in the name is an error."""
    with pytest.raises(ConfigError, match="expected a number from 1 to 255"):
        agency_in_name(f"agency-{number}.csv")


@pytest.mark.parametrize(
    ("path", "given_agency", "agency"),
    [("agency-3.csv", None, 3), ("agency-3.csv", 3, 3), ("bets.csv", 3, 3), ("-", 3, 3)],
)
def test_the_agency_comes_from_the_settings_or_the_name(path: str, given_agency: int | None, agency: int) -> None:
    """Either is enough, and both may agree."""
    assert resolve_agency(path, given_agency, "--agency") == agency


def test_a_contradiction_names_both_places() -> None:
    """The error says what the name and what the setting say."""
    with pytest.raises(ConfigError) as caught:
        resolve_agency("in/agency-3.csv", 2, "environment CLI_ID")
    assert str(caught.value) == "in/agency-3.csv: the file name says agency 3, environment CLI_ID says 2"


def test_a_file_of_nobody_is_an_error_that_says_what_to_do() -> None:
    """Without an agency the error names the option and the form of the name."""
    with pytest.raises(ConfigError, match=r"Give --agency N, or name the file agency-N\.csv"):
        resolve_agency("bets.csv", None, None)
