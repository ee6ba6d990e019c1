"""Names that look wrong are warned of, with file, line and field; nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bets_client.cli.check import SHOWN_NAMES
from bets_client.input.check import check
from bets_client.input.files import open_csv
from bets_client.input.names import odd_names
from bets_protocol import Bet
from bets_protocol.client.csv_file import PIECE_BYTES
from tests.client.command_line import run
from tests.client.scripted_server import Central, ScriptedServer

REST = "30904465,1999-03-17,7574"


def a_bet(first_name: str, last_name: str = "Paz") -> Bet:
    return Bet(
        agency=1,
        first_name=first_name,
        last_name=last_name,
        document="30904465",
        birthdate="1999-03-17",
        number=7574,
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("\ufeffAna", "'\\ufeffAna' holds U+FEFF BYTE ORDER MARK"),
        (' "Paz"', "' \"Paz\"' begins with a space, and has quotes that are part of it"),
        ("Paz ", "'Paz ' ends with a space"),
        ("   ", "'   ' has nothing that can be seen"),
        ("\u00a0", "'\\xa0' has nothing that can be seen, and holds U+00A0 NO-BREAK SPACE"),
        ("\u200b\u200d", "U+200B ZERO WIDTH SPACE, U+200D ZERO WIDTH JOINER"),
        ("\u3164", "has nothing that can be seen, and holds U+3164 HANGUL FILLER"),
        ("Mar\u00eda\u00a0In\u00e9s", "'Mar\u00eda\\xa0In\u00e9s' holds U+00A0 NO-BREAK SPACE"),
        ("An\u00ada", "holds U+00AD SOFT HYPHEN"),
        ("Ana\u202e", "'Ana\\u202e' holds U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u200eAna", "holds U+200E LEFT-TO-RIGHT MARK"),
        ("A\u2066n\u2067a\u2068s\u2069", "RIGHT-TO-LEFT ISOLATE, U+2068 FIRST STRONG ISOLATE and 1 more"),
        ("A\u200cna", "holds U+200C ZERO WIDTH NON-JOINER"),
        ('"Ana"', "'\"Ana\"' has quotes that are part of it"),
        ("'Ana'", "\"'Ana'\" has quotes that are part of it"),
        ("\u201cAna\u201d", "has quotes that are part of it"),
        ('"Ana', "has quotes that are part of it"),
        ("Pe\ufffda", "holds U+FFFD REPLACEMENT CHARACTER where a character may have been lost"),
        ("Pe?a", "'Pe?a' holds ? where a character may have been lost"),
        ("Jos\u00c3\u00a9", "looks like UTF-8 that was read as Latin-1 ('Jos\u00e9'?)"),
        ("MU\u00c3\u2018OZ", "looks like UTF-8 that was read as Latin-1 ('MU\u00d1OZ'?)"),
        ("DVO\u00c3\u0161K", "looks like UTF-8 that was read as Latin-1 ('DVO\u00daK'?)"),
        ("Garc\u00c3\u00ada", "looks like UTF-8 that was read as Latin-1"),
        ("x" * 60 + "\u200b", f"'{'x' * 40}...' holds U+200B ZERO WIDTH SPACE"),
    ],
)
def test_a_name_that_looks_wrong(tmp_path: Path, name: str, reason: str) -> None:
    """What stands there, with the codes of what cannot be seen; found in a file too, and not in the row beside it."""
    [(field, found)] = odd_names(a_bet("Ana", name))
    assert (field, reason in found) == ("last_name", True), found
    assert next(odd_names(a_bet(name))) == ("first_name", found)
    quoted = '"' + name.replace('"', '""') + '"' if name.startswith('"') else name
    path = tmp_path / "bets.csv"
    path.write_text(f"Ana,Paz,{REST}\n{quoted},Paz,{REST}\nAna,{quoted},{REST}\n", encoding="utf-8")
    assert [(line, field) for line, field, _ in _found(path)] == [(2, "first_name"), (3, "last_name")]


@pytest.mark.parametrize(
    "name",
    [
        *("Ana", "Ana Mar\u00eda", "O'Brien", "'Abd", "D'Angelo", "Jr.", "'", "A'", 'Juan "Pepe" Paz'),
        *(
            "Jo\u00e3o",
            "JO\u00c3O",
            "\u00c2ngela",
            "\u00c2",
            "\u00d1and\u00fa",
            "M\u00aa Luisa",
            "\u0160imek",
            "Jose\u0301",
        ),
        *("\u0641\u0627\u0631\u0633\u06cc\u200c\u0647\u0627", "\u65e5\u672c", "\u0418\u0432\u0430\u043d"),
    ],
)
def test_a_name_that_looks_right(name: str) -> None:
    """Apostrophes, accents, nicknames, and the joiner that Persian is spelled with."""
    assert list(odd_names(a_bet(name, name))) == []


def _found(path: Path) -> list[tuple[int, str, str]]:
    """What `check` is told of odd names."""
    found: list[tuple[int, str, str]] = []

    def add(line: int, field: str, what: str) -> None:
        found.append((line, field, what))

    source = open_csv(str(path), 1)
    try:
        checked = check(source, lambda _: None, on_odd=add)
    finally:
        source.close()
    assert checked.odd == len(found)
    return found


@given(
    names=st.lists(
        st.text(
            st.sampled_from("Aa \u00a0\u200b\ufeff'\"?\u00c3\u00a9\u00c2\u0161\u0192\u02c6\u2018\u3164\ufffd"),
            max_size=4,
        ),
        min_size=1,
        max_size=6,
    ),
    filler=st.integers(0, 2000),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(names=[" A"], filler=0, end="\n")
def test_the_quick_look_misses_nothing(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], filler: int, end: str
) -> None:
    """Wherever in the file the rows stand, also across two pieces of it."""
    path = tmp_path_factory.mktemp("names") / "bets.csv"
    rows = [("Ana" + "x" * (row % 7), "Paz") for row in range(filler)] + [(name, "Paz") for name in names]
    text = "".join(f"{first},{last},{REST}{end}" for first, last in rows)
    path.write_text(text, encoding="utf-8", newline="")
    expected, bad = [], []
    source = open_csv(str(path), 1)
    for line, row in enumerate(source.rows(), 1):
        if isinstance(row, Bet):
            expected += [(line, field, what) for field, what in odd_names(row)]
        else:
            bad.append(line)
    source.close()
    assert len(bad) <= len(names)
    if len(bad) < len(rows):  # else the file may count as empty
        assert _found(path) == expected


@pytest.mark.parametrize("name", [" A", "A ", "A\u200b", "'A'"])
def test_an_odd_name_that_lies_in_two_pieces_of_a_file(tmp_path: Path, name: str) -> None:
    """Wherever the cut is: before the row, within it, behind it."""
    path = tmp_path / "bets.csv"
    plain = f"Ana,Paz,{REST}\n"
    rows = PIECE_BYTES // len(plain) - 2
    for more in range(3 * len(plain)):
        head = plain * rows + f"Ana{'x' * more},Paz,{REST}\n"
        path.write_text(f"{head}{name},{name},{REST}\n{plain * 5}", encoding="utf-8")
        assert [(line, field) for line, field, _ in _found(path)] == [
            (rows + 2, "first_name"),
            (rows + 2, "last_name"),
        ], more


def test_no_name_of_the_agencies_looks_wrong(real_data: Path) -> None:
    """The real files cause no warning."""
    for file in sorted(real_data.glob("agency-*.csv")):
        assert _found(file) == [], file


@pytest.fixture
def odd(tmp_path: Path) -> str:
    """Two Excel exports joined, and an export with a blank behind its commas."""
    path = tmp_path / "agency-1.csv"
    path.write_text(f'\ufeffAna,Paz,{REST}\n\ufeffEva,Sol,{REST}\nAna, "Paz",{REST}\n', encoding="utf-8")
    return str(path)


def test_check_warns_and_stays_a_success(odd: str) -> None:
    """A warning has file, line and field, and does not change the exit code."""
    result = run("check", odd)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        f"{odd}:2: first_name: warning: '\\ufeffEva' holds U+FEFF BYTE ORDER MARK",
        f"{odd}:3: last_name: warning: ' \"Paz\"' begins with a space, and has quotes that are part of it",
        f"{odd}: warning: 2 names that look wrong; if that is not meant, correct the file before it is sent",
        f"{odd}: 3 rows, 0 bad",
    ]
    assert run("check", "-q", odd).output == ""


def test_check_in_json_is_an_object_for_each_finding_and_each_file(tmp_path: Path, odd: str) -> None:
    """Findings and totals are one JSON object a line."""
    bad = tmp_path / "bad.csv"
    bad.write_text(f"Ana,Paz,{REST}\nbad\n")
    missing = str(tmp_path / "missing.csv")
    result = run("check", "--format", "json", odd, str(bad), missing)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (3, "")
    assert [(each["file"], each.get("line"), each.get("field"), each.get("severity")) for each in found] == [
        (odd, 2, "first_name", "warning"),
        (odd, 3, "last_name", "warning"),
        (odd, None, None, None),
        (str(bad), 2, "row", "error"),
        (str(bad), None, None, None),
        (missing, None, "row", "error"),
    ]
    assert found[2] == {"file": odd, "rows": 3, "bad": 0, "odd_names": 2}
    assert found[4] == {"file": str(bad), "rows": 2, "bad": 1, "odd_names": 0}
    quiet = run("check", "-q", odd, str(bad), BETS_FORMAT="json").stdout.splitlines()
    assert [json.loads(line)["severity"] for line in quiet] == ["error"]


@pytest.mark.parametrize(("command", "shown"), [("check", SHOWN_NAMES), ("send", 10)])
def test_there_is_a_bound_to_warnings(tmp_path: Path, command: str, shown: int) -> None:
    """Only the first warnings are shown, and the others are counted."""
    path = tmp_path / "agency-1.csv"
    path.write_text(f" Ana,Paz,{REST}\n" * 150)
    with ScriptedServer(Central(1)) as server:
        result = run(command, str(path), *(("--server", server.url) if command == "send" else ()))
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(lines) == shown + 1
    assert lines[-1].startswith(f"{path}: warning: 150 names that look wrong, {150 - shown} of them not shown; ")


@pytest.mark.parametrize("command", ["send", "run"])
def test_an_upload_warns_and_sends_the_names_as_they_stand(odd: str, command: str) -> None:
    """`send` and `run` change no name."""
    central = Central(1)
    arguments = ["send", odd] if command == "send" else ["run", "--file", odd]
    with ScriptedServer(central) as server:
        result = run(*arguments, "--server", server.url)
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "warning" in line] == [
        f"{odd}:2: first_name: warning: '\\ufeffEva' holds U+FEFF BYTE ORDER MARK",
        f"{odd}:3: last_name: warning: ' \"Paz\"' begins with a space, and has quotes that are part of it",
        f"{odd}: warning: 2 names that look wrong; they are sent as they stand; bets-client check shows them before",
    ]
    assert len(central.bets) == 3
    with ScriptedServer(Central(1)) as server:
        assert run("send", "-q", odd, "--server", server.url).stderr == ""


@pytest.mark.parametrize("command", ["bet", "run"])
def test_a_bet_names_the_variable_or_the_option(command: str) -> None:
    """As `docker run --env-file` sets it, which keeps the quotes."""
    variables = {"NOMBRE": '"Ana"', "DOCUMENTO": "30904465", "NACIMIENTO": "1999-03-17", "NUMERO": "7574"}
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run(command, "--last-name", "Paz ", "--agency", "1", "--server", server.url, **variables)
    assert (result.exit_code, len(central.bets)) == (0, 1)
    assert result.stderr.splitlines() == [
        "bets-client: warning: environment NOMBRE: '\"Ana\"' has quotes that are part of it; it is sent as it stands",
        "bets-client: warning: --last-name: 'Paz ' ends with a space; it is sent as it stands",
    ]


def test_what_a_warning_shows_stays_on_its_line(tmp_path: Path) -> None:
    """A file's name may hold anything."""
    path = tmp_path / "a\nb.csv"
    path.write_text(f"Ana\u2028,Paz,{REST}\n", encoding="utf-8")
    first, *_ = run("check", str(path)).stderr.splitlines()
    assert first == f"{tmp_path}/a\\x0ab.csv:1: first_name: warning: 'Ana\\u2028' holds U+2028 LINE SEPARATOR"
