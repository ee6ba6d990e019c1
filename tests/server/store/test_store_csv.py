"""The legacy `bets.csv` beside its ledger: its bytes, lines of other programs, and a disk without room."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from bets_protocol import RejectCode, StorageError
from bets_server.store import Verdict, open_store
from bets_server.store.conformance.samples import (
    append_to,
    batch_of,
    documents,
    opened,
    part,
    rows_of,
    sample_batch,
    sample_bet,
    upload_id,
    winning,
)
from tests.server.store.csv_files import account, files_in, lines_of_store

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0

LEGACY = (
    b"1,Santiago Lionel,Lorca,30904465,1999-03-17,7574\r\n"
    b'2,"Ana ""la flaca""","P\xc3\xa1ez, h.",00000002,2000-02-29,0\r\n'
    b"1,Tiago Nicol\xc3\xa1s,Rivera,34407251,2001-08-29,1033\r\n"
)


# The bytes of the file


def test_the_file_is_what_the_legacy_server_wrote(path: Path, url: str, tmp_path: Path) -> None:
    """Byte for byte: CRLF, quotes where needed, no header; and its way of reading gives the bets back."""
    bets = [sample_bet(row, agency=row) for row in (1, 2, 255)]
    with open_store(url) as store:
        append_to(store, [batch_of(bets)])
        append_to(store, [batch_of(bets)])
    with (tmp_path / "legacy.csv").open("a+", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_MINIMAL)
        for bet in bets * 2:
            writer.writerow([bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate, bet.number])
    assert path.read_bytes() == (tmp_path / "legacy.csv").read_bytes()
    assert path.read_bytes().startswith(b'1,Tom\xc3\xa1s Agust\xc3\xadn,"O""Higgins, hijo",00000001,1999-03-17,1\r\n')
    with path.open(encoding="utf-8") as file:
        rows = list(csv.reader(file, quoting=csv.QUOTE_MINIMAL))
    assert [row[3] for row in rows] == documents(bets * 2)


def test_the_ledger_knows_the_file_when_it_is_closed(path: Path, url: str, ledger: Path) -> None:
    """Its size, its lines, the batch up to which it goes; and opening it again changes nothing."""
    with open_store(url) as store:
        append_to(store, [sample_batch(range(30)), sample_batch([7], agency=2)])
        append_to(store, [sample_batch([8])])
    content = path.read_bytes()
    assert account(ledger) == (3, len(content), 32)
    before = files_in(path.parent)
    with open_store(url) as store:
        assert lines_of_store(store) == content
    assert path.read_bytes() == content
    assert before.keys() == files_in(path.parent).keys() == {"bets.csv", "bets.csv.ledger"}


def test_the_lines_of_a_voided_upload_stay(path: Path, url: str) -> None:
    """Other programs have read them; they count nowhere, and the store opens as before."""
    with open_store(url) as store:
        tickets = [opened(store, total=6, which=which) for which in range(3)]
        for row in range(0, 4, 2):
            store.commit([part(ticket, [row, row + 1]) for ticket in tickets])
        content = path.read_bytes()
        store.void(tickets[1].upload, reason="wrong file")
        append_to(store, [sample_batch([9], agency=2)])
        assert path.read_bytes().startswith(content)
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(0, 1, 0, 1, 2, 3, 2, 3, 9)
        assert len(path.read_bytes().splitlines()) == 13


def test_two_links_to_one_file_are_one_store(path: Path, url: str, tmp_path: Path) -> None:
    """The ledger lies beside the file, not beside the link, so it is locked and found by either."""
    (tmp_path / "other").mkdir()
    for name in ("link.csv", "other/link.csv"):
        (tmp_path / name).symlink_to(path)
    path.touch()
    with open_store(f"csv:///{tmp_path}/link.csv") as store:
        append_to(store, [sample_batch([1])])
        with pytest.raises(StorageError, match="another server has it open"):
            open_store(f"csv:///{tmp_path}/other/link.csv")
    with open_store(f"csv:///{tmp_path}/other/link.csv") as store:
        assert documents(store.bets()) == rows_of(1)
    assert {name for name in files_in(tmp_path) if "ledger" in name} == {"bets.csv.ledger"}
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(1)


def test_the_ledger_serves_without_the_file(path: Path, url: str, ledger: Path) -> None:
    """As a book of its own, as the advice says; and the file catches up when it is there again."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    with open_store(f"sqlite:///{ledger}") as store:
        append_to(store, [sample_batch([2])])
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(1, 2)
        assert path.read_bytes() == lines_of_store(store)


# Lines of other programs


def test_a_file_of_the_legacy_server_is_taken_whole(path: Path, url: str) -> None:
    """Once; it stays as it is, a server goes on after it, and the draw counts it."""
    path.write_bytes(LEGACY)
    for _ in range(2):
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 2, 2: 1}
            assert [bet.first_name for bet in store.bets()] == ["Santiago Lionel", 'Ana "la flaca"', "Tiago Nicolás"]
        assert path.read_bytes() == LEGACY
    with open_store(url) as store:
        append_to(store, [sample_batch([5], number=7574)])
    assert path.read_bytes().startswith(LEGACY)
    with open_store(url) as store:
        store.seal_and_draw(1, expected=1, pick=winning)
        assert store.winners(1) == ("30904465", "00000005")
        assert store.winners(2) == ()


def test_a_file_without_a_ledger_is_no_store_for_a_reader(path: Path, url: str) -> None:
    """It is told what makes one, and nothing is made."""
    path.write_bytes(LEGACY)
    with pytest.raises(
        StorageError, match=r"there is no such store: bets.csv.ledger is missing, which `bets-server ser"
    ):
        open_store(url, create=False)
    assert files_in(path.parent) == {"bets.csv": LEGACY}


def test_many_lines_are_taken(path: Path, url: str) -> None:
    """More than fit one step, agencies mixed; their order stays."""
    lines = [b"%d,Ana,Paz,%08d,1999-03-17,%d\r\n" % (1 + row % 3, row, row % 10_000) for row in range(60_000)]
    path.write_bytes(b"".join(lines[:30_000]) + b"".join(sorted(lines[30_000:])))
    for _ in range(2):
        with open_store(url) as store:
            assert lines_of_store(store) == path.read_bytes()
            assert store.state().bets_by_agency == dict.fromkeys((1, 2, 3), 20_000)


def test_lf_alone_ends_a_line_too(path: Path, url: str) -> None:
    """Some editors leave it so; and leading zeros are what they were."""
    content = LEGACY.replace(b"\r\n", b"\n").replace(b"1033", b"0033")
    path.write_bytes(content)
    for _ in range(2):
        with open_store(url) as store:
            assert store.state().bets_by_agency == {1: 2, 2: 1}
    assert path.read_bytes() == content


def test_lines_added_between_two_servers_are_taken(path: Path, url: str) -> None:
    """By the draw that is open then."""
    with open_store(url, draw=1) as store:
        append_to(store, [sample_batch([1])])
    with path.open("ab") as file:
        file.write(LEGACY)
    with open_store(url, draw=2) as store:
        assert documents(store.bets()) == ["30904465", "00000002", "34407251"]
        append_to(store, [sample_batch([5])])
    with open_store(url, draw=1) as store:
        assert documents(store.bets()) == rows_of(1)
    with open_store(url, draw=2) as store:
        assert documents(store.bets(1)) == ["30904465", "34407251", "00000005"]


def test_lines_added_after_the_draw_are_an_error(path: Path, url: str) -> None:
    """They cannot take part any more; another draw takes them."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1, 2])])
        store.seal_and_draw(1, expected=1, pick=winning)
    with path.open("ab") as file:
        file.write(LEGACY)
    for _ in range(2):
        with pytest.raises(StorageError, match=rf"^{path}:3: was added after draw 1, which is over$"):
            open_store(url)
    with open_store(url, draw=2) as store:
        assert store.state().bets_by_agency == {1: 2, 2: 1}
        append_to(store, [sample_batch([1])])
    with open_store(url, draw=1) as store:
        assert store.state().bets_by_agency == {1: 2}


def test_lines_added_for_an_agency_with_uploads_are_an_error(path: Path, url: str) -> None:
    """They belong to no upload; nothing is taken, and once they are gone the store opens again."""
    with open_store(url) as store:
        opened(store, total=3, agency=2)
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(LEGACY)
    with pytest.raises(StorageError, match=rf"^{path}:2: was added, though agency 2 sends uploads$"):
        open_store(url)
    path.write_bytes(before)
    with open_store(url) as store:
        assert store.state().bets_by_agency == {}


def test_lines_added_by_another_program_are_anonymous(path: Path, url: str) -> None:
    """They join what the agency has sent, and after that was voided, they are a new upload."""
    path.write_bytes(LEGACY)
    with open_store(url) as store:
        assert [(upload.number, upload.agency, upload.stored) for upload in store.uploads()] == [(1, 1, 2), (2, 2, 1)]
        assert [entry.event for entry in store.audit()] == ["open", "open"]
        assert store.open_upload(1, upload_id(0), total=3).code is RejectCode.MODE_CONFLICT
        append_to(store, [sample_batch([5])])
        store.void(1, reason="test data")
    with path.open("ab") as file:
        file.write(LEGACY)
    for _ in range(2):
        with open_store(url) as store:
            found = [(upload.number, upload.agency, upload.stored, upload.voided) for upload in store.uploads()]
            assert found == [(1, 1, 3, True), (2, 2, 2, False), (3, 1, 2, False)]
            assert documents(store.bets(1)) == ["30904465", "34407251"]
            assert documents(store.bets(2)) == ["00000002"] * 2
            assert [entry.event for entry in store.audit()] == ["open", "open", "void", "open"]


BET = b"1,Ana,Paz,30904465,1999-03-17,7574"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"1,Ana,Paz,30904465,1999-03-17", "5 fields, expected 6: agency, first_name, last_name, document, birthdate"),
        (BET + b",x", "7 fields, expected 6"),
        (b"", "0 fields, expected 6"),
        (b"agency,first_name,last_name,document,birthdate,number", "agency: 'agency' is not a number"),
        (b" 1,Ana,Paz,30904465,1999-03-17,7574", "agency: ' 1' is not a number of at most four digits"),
        (b"0,Ana,Paz,30904465,1999-03-17,7574", "agency: "),
        (b"256,Ana,Paz,30904465,1999-03-17,7574", "agency: "),
        (b"1,,Paz,30904465,1999-03-17,7574", "first_name: "),
        (b"1,Ana," + b"x" * 256 + b",30904465,1999-03-17,7574", "last_name: "),
        (b"1,A\0na,Paz,30904465,1999-03-17,7574", "(first_name: |not a line of CSV: )"),
        (b"1,Ana,Paz,3090446,1999-03-17,7574", "document: "),
        (b"1,Ana,Paz,30904465,1999-02-30,7574", "birthdate: "),
        (b"1,Ana,Paz,30904465,2020-W01-1,7574", "birthdate: "),
        (b"1,Ana,Paz,30904465,1999-03-17,10000", "number: '10000' is not a number of at most four digits"),
        ("1,Ana,Paz,30904465,1999-03-17,٣".encode(), "number: '٣' is not a number"),
        (b"1,Ana,Paz,30904465,1999-03-17,1_0", "number: '1_0' is not a number"),
        (b"1,A\xf1a,Paz,30904465,1999-03-17,7574", "not UTF-8 at byte 3 of the line"),
        (b'1,"Ana,Paz,30904465,1999-03-17,7574', "not a line of CSV: "),
        (BET + b"\r", "a carriage return that does not end the line"),
        (b"1,An\ra,Paz,30904465,1999-03-17,7574", "a carriage return that does not end the line"),
        (b"x" * 70_000, "longer than 4096 bytes: not a bet"),
    ],
)
@pytest.mark.parametrize("with_ledger", [False, True])
def test_a_line_that_is_no_bet_is_told(path: Path, url: str, line: bytes, says: str, *, with_ledger: bool) -> None:
    """With its file, its number, its field; and nothing is taken, nor is a ledger made for what may be anything."""
    if with_ledger:
        path.write_bytes(LEGACY)
        open_store(url).close()
    content = LEGACY + line + b"\r\n" + BET + b"\r\n"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"^{path}:4: {says.replace('four', '4')}"):
        open_store(url)
    assert path.read_bytes() == content
    assert files_in(path.parent).keys() == ({"bets.csv", "bets.csv.ledger"} if with_ledger else {"bets.csv"})
    path.write_bytes(LEGACY)
    with open_store(url) as store:
        assert store.state().bets_by_agency == {1: 2, 2: 1}


def test_a_last_line_without_an_end_is_told(path: Path, url: str) -> None:
    """A number may have been cut in it: 757 is not 7574."""
    path.write_bytes(LEGACY + BET[:-1])
    with pytest.raises(StorageError, match=rf"^{path}:4: the last line has no end$"):
        open_store(url)
    assert files_in(path.parent).keys() == {"bets.csv"}


# Other files


@pytest.mark.parametrize("content", [LEGACY, b""])
def test_the_journal_of_an_older_version_is_not_ignored(path: Path, tmp_path: Path, content: bytes) -> None:
    """It may hold uploads and seals; by whichever name the file is opened."""
    journal = path.with_name("bets.csv.journal")
    journal.write_bytes(b"x")
    path.write_bytes(content)
    (tmp_path / "link.csv").symlink_to(path)
    for name in ("bets.csv", "link.csv"):
        for create in (True, False):
            with pytest.raises(StorageError, match=rf"^{journal}: may hold .* which this one does not read: export .*"):
                open_store(f"csv:///{tmp_path}/{name}", create=create)
    assert files_in(tmp_path) == {"bets.csv": content, "bets.csv.journal": b"x", "link.csv": content}


@pytest.mark.parametrize("name", ["pipe", "null"])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    """A pipe or a device holds no bets, and no ledger is made beside it."""
    (tmp_path / "link").symlink_to("/dev/null")
    subprocess.run(["mkfifo", str(tmp_path / "pipe")], check=True)
    path = tmp_path / ("link" if name == "null" else "pipe")
    with pytest.raises(StorageError, match=rf"^{path}: is a device, a pipe or a socket; a store is a regular file$"):
        open_store(f"csv:///{path}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "pipe"]
    assert not Path("/dev/null.ledger").exists()


# No room


LIMITED = """
import resource, sys
from bets_protocol import StorageError
from bets_server.store import StoreFull, open_store
from bets_server.store.conformance.samples import append_to, documents
from tests.server.store.appender import bet, lots_of
url, path, spare = sys.argv[1], sys.argv[2], int(sys.argv[3])
batch = lambda first: lots_of(bet(row) for row in range(first, first + 20))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(open(path, "rb").read()) + spare, hard))
def commit(store, first):
    try:
        print(append_to(store, [batch(first)])[0].name, len(open(path, "rb").readlines()))
    except StoreFull as error:
        print("full:", error, len(open(path, "rb").readlines()))
store = open_store(url)
limit()
commit(store, 0)
commit(store, 20)
store.close()
store = open_store(url, create=False)
print(store.state().bets_by_agency[1], len(list(store.bets())))
commit(store, 20)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
commit(store, 20)
store.close()
"""


@pytest.mark.parametrize("spare", [0, 1, 500])
def test_a_file_without_room_lacks_one_group_at_most(path: Path, url: str, spare: int) -> None:
    """What is acknowledged is in the ledger; the next group is refused, a start serves what is there, and with room
    again nothing is missing in the file and no part of a line was ever in it."""
    rows = 6000  # so that it is larger than what the ledger writes meanwhile, which is under the same limit
    path.write_bytes(b"".join(b"1,Ana,Paz,%08d,1999-03-17,7574\r\n" % (90_000_000 + row) for row in range(rows)))
    open_store(url).close()
    command = [sys.executable, "-c", LIMITED, url, str(path), str(spare)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.stderr == ""
    full = f"full: {path}: cannot write: File too large {rows}"
    assert done.stdout.splitlines() == [
        f"STORED {rows}",
        full,
        f"{rows + 20} {rows + 20}",
        full,
        f"STORED {rows + 40}",
    ]
    with open_store(url) as store:
        assert lines_of_store(store) == path.read_bytes()
        assert append_to(store, [sample_batch([1])]) == [Verdict.STORED]
