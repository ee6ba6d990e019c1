"""The book in SQLite: what is in the file, which files it refuses, and that it never says what is not so."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bets_protocol import BetRun, CodecInfo, StorageError, encode_bets
from bets_server.store import DrawState, Parcel, SealOutcome, StoreFull, Verdict, open_store
from bets_server.store.conformance.samples import (
    WINNING,
    append_to,
    batch_of,
    documents,
    no_pick,
    opened,
    part,
    rows_of,
    sample_batch,
    sample_bet,
    winning,
)
from bets_server.store.sqlite import draw as sqlite_draw
from bets_server.store.sqlite import room as sqlite_room
from bets_server.store.sqlite import schema as sqlite_schema
from bets_server.store.sqlite import store as sqlite_store
from bets_server.store.sqlite.store import SqliteStore

BETS = 0x62657473


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the book of a test lives."""
    return tmp_path / "bets.db"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{path}"


@contextlib.contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as any other program sees it; what is changed is kept."""
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with connection:
            yield connection


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """A setting that SQLite keeps or has in force."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


# What is in the file


def test_the_book_keeps_the_bytes(path: Path, url: str) -> None:
    """A row for each run of bets of an agency, byte for byte, and what they add up to in the uploads."""
    first, second, third = [sample_bet(1), sample_bet(2)], [sample_bet(3, agency=2)], [sample_bet(4)]
    with open_store(url, draw=6) as store:
        append_to(store, [batch_of([*first, *second]), batch_of(third)])
        append_to(store, [batch_of(third)])
        store.seal_and_draw(2, expected=2, pick=no_pick)
    with by_hand(path) as book:
        assert book.execute("SELECT id, number FROM draw").fetchall() == [(6, None)]
        assert book.execute("SELECT * FROM upload ORDER BY id").fetchall() == [
            (1, 6, 1, None, None, 4, zlib.crc32(encode_bets([*first, *third, *third])), 0, 0),
            (2, 6, 2, None, None, 1, zlib.crc32(encode_bets(second)), 0, 0),
        ]
        assert book.execute("SELECT * FROM batch ORDER BY seq").fetchall() == [
            (1, 1, 0, 2, encode_bets(first)),
            (2, 2, 0, 1, encode_bets(second)),
            (3, 1, 2, 1, encode_bets(third)),
            (4, 1, 3, 1, encode_bets(third)),
        ]
        assert book.execute("SELECT * FROM seal").fetchall() == [(6, 2)]


def test_the_draw_is_written_with_its_winners(path: Path, url: str) -> None:
    """The position of a winner is its place among its agency's winners; the digest is over the bytes that were sent."""
    first, second = sample_batch([3, 1], number=WINNING), sample_batch([2], agency=2, number=WINNING)
    with open_store(url) as store:
        append_to(store, [first, second])
        store.seal_and_draw(1, expected=1, pick=winning)
    with by_hand(path) as book:
        digest = hashlib.sha256(first[0].encoded + second[0].encoded).hexdigest()
        assert book.execute("SELECT * FROM draw").fetchall() == [(1, WINNING, 3, digest)]
        assert book.execute("SELECT * FROM winner").fetchall() == [
            (1, 1, 0, "00000003"),
            (1, 1, 1, "00000001"),
            (1, 2, 0, "00000002"),
        ]


def test_the_file_says_whose_it_is(path: Path, url: str) -> None:
    """Application, version of the tables, sound; and nothing is left beside it."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
        assert sorted(entry.name for entry in path.parent.iterdir()) == ["bets.db", "bets.db-wal"]
    assert [entry.name for entry in path.parent.iterdir()] == ["bets.db"]
    with by_hand(path) as book:
        assert (pragma(book, "application_id"), pragma(book, "user_version")) == (BETS, 3)
        assert pragma(book, "journal_mode") == "wal"
        assert pragma(book, "integrity_check") == "ok"
        tables = book.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sq%'"
        )
        assert dict(tables.fetchall()) == dict.fromkeys(
            ["draw", "upload", "batch", "seal", "winner", "audit", "checkpoint"], 1
        )


def test_the_file_and_its_log_have_room_from_the_start(path: Path, url: str) -> None:
    """So the first commits need not make them grow; a file left by a program killed in the midst of it is put right."""
    for _ in range(2):
        with open_store(url):
            assert path.stat().st_size > 5_000_000
            assert path.with_name("bets.db-wal").stat().st_size > 5_000_000
        assert path.stat().st_size < 6_000_000
    with by_hand(path) as book:
        book.execute("CREATE TABLE filler (bytes BLOB)")
    open_store(url).close()
    with by_hand(path) as book:
        assert book.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'filler'").fetchone() == (0,)


def test_a_book_that_may_not_grow_is_opened_all_the_same(path: Path, url: str) -> None:
    """Room ahead of need is a comfort: without it, as under a quota, nothing is lost or left behind."""
    with open_store(url) as store:
        append_to(store, [sample_batch(range(200))] * 100)
    with by_hand(path) as book:
        book.execute(f"PRAGMA max_page_count = {pragma(book, 'page_count')}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            sqlite_room.make_room(book, path)
        with pytest.raises(sqlite3.OperationalError, match="no such table: filler"):
            book.execute("SELECT * FROM filler")
    with by_hand(path) as book:
        book.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            sqlite_room.make_room(book, path)


def test_bets_with_an_identity_of_their_upload_have_room(path: Path, url: str) -> None:
    """The tables take uploads of revision 9, several of one agency, beside the anonymous one; none of them twice."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    encoded = encode_bets([sample_bet(2, number=WINNING)])
    with by_hand(path) as book:
        for upload, identity in [(7, bytes(16)), (8, bytes(15) + b"x")]:
            book.execute(
                "INSERT INTO upload VALUES (?, 1, 1, ?, 5, 1, ?, 3, 0)", (upload, identity, zlib.crc32(encoded))
            )
            book.execute("INSERT INTO batch VALUES (NULL, ?, 0, 1, ?)", (upload, encoded))
        for bad in [
            "INSERT INTO upload (draw, agency, upload_id, total) VALUES (1, 1, zeroblob(16), 5)",  # there already
            "INSERT INTO upload (draw, agency, upload_id, total) VALUES (1, 1, zeroblob(15), 5)",
            "INSERT INTO upload (draw, agency, upload_id) VALUES (1, 2, zeroblob(16))",
            "INSERT INTO upload (draw, agency, total) VALUES (1, 2, 5)",
            "INSERT INTO upload (draw, agency) VALUES (1, 1)",  # there already
            "INSERT INTO upload (draw, agency) VALUES (1, 0)",
            "INSERT INTO upload (draw, agency) VALUES (2, 1)",  # no such draw
            "UPDATE upload SET stored = 6 WHERE id = 7",  # more than its total
            "INSERT INTO batch (upload, first_row, count, bets) VALUES (7, 0, 1, x'00')",  # there already
            "INSERT INTO batch (upload, first_row, count, bets) VALUES (7, 1, 0, x'00')",
            "INSERT INTO batch (upload, first_row, count, bets) VALUES (7, 1, 1, 'text')",
            "INSERT INTO batch (upload, first_row, count, bets) VALUES (9, 1, 1, x'00')",  # no such upload
        ]:
            with pytest.raises(sqlite3.IntegrityError):
                book.execute(bad)
    with open_store(url) as store:
        assert store.state().bets_by_agency == {1: 3}
        assert documents(store.bets(1)) == rows_of(1, 2, 2)
        store.seal_and_draw(1, expected=1, pick=winning, forced=True)
        assert store.winners(1) == tuple(rows_of(2, 2))


# What it refuses to open


def test_a_file_that_is_no_database_is_left_alone(path: Path, url: str) -> None:
    """For a server and for a reader."""
    path.write_bytes(b"agency,first,last\r\n" * 100)
    for create in (True, False):
        with pytest.raises(StorageError, match=rf"^{path}: is not a SQLite database$"):
            open_store(url, create=create)
    assert path.read_bytes() == b"agency,first,last\r\n" * 100
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA application_id = 0x1234", r"is a database of another program \(application id 0x00001234\)"),
        ("CREATE TABLE bets (id)", r"is a database of another program \(application id 0x00000000\)"),
        ("PRAGMA user_version = 1", "is a database of another program"),
        (f"PRAGMA application_id = {BETS}", "is damaged: its tables have version 0, known is 3"),
    ],
)
def test_a_database_of_another_program_is_left_alone(path: Path, url: str, statement: str, says: str) -> None:
    """Not a byte of it changes."""
    with by_hand(path) as book:
        book.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=f"^{path}: {says}"):
        open_store(url)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_book_of_a_newer_version_is_left_alone(path: Path, url: str) -> None:
    """An older program must not guess what newer tables mean."""
    open_store(url).close()
    with by_hand(path) as book:
        book.execute("PRAGMA user_version = 4")
    with pytest.raises(StorageError, match=r"newer version of this program: its tables have version 4, known is 3"):
        open_store(url)


def test_an_empty_file_becomes_a_book_but_not_for_a_reader(path: Path, url: str) -> None:
    """It is what a server leaves that was killed while it created the file."""
    path.touch(mode=0o600)
    with pytest.raises(StorageError, match="is empty and not a store"):
        open_store(url, create=False)
    assert path.read_bytes() == b""
    with open_store(url) as store:
        assert append_to(store, [sample_batch([1])]) == [Verdict.STORED]


def test_a_book_that_another_program_reads_is_not_served(path: Path, url: str) -> None:
    """A look at the book with SQLite's own shell keeps a server out as long as it lasts, and the other way round."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
        with by_hand(path) as book, pytest.raises(sqlite3.OperationalError, match="locked"):
            book.execute("SELECT * FROM batch").fetchone()
    with by_hand(path) as book:
        book.execute("BEGIN")
        book.execute("SELECT * FROM batch").fetchone()
        with pytest.raises(StorageError, match="another server has it open"):
            open_store(url)


def test_settings_that_sqlite_did_not_take_are_told(path: Path) -> None:
    """SQLite says nothing when it cannot do what a setting asks for; so they are read back."""
    with by_hand(path) as book:
        sqlite_schema.lock(book)
        sqlite_schema.apply_settings(book)
        sqlite_schema.require_settings(book, path)
        book.execute("PRAGMA synchronous = NORMAL")
        with pytest.raises(StorageError, match=rf"^{path}: SQLite setting synchronous is 1, and must be 2$"):
            sqlite_schema.require_settings(book, path)
    with contextlib.closing(sqlite3.connect(":memory:")) as book:
        sqlite_schema.lock(book)
        sqlite_schema.apply_settings(book)
        with pytest.raises(StorageError, match="SQLite setting journal_mode is 'memory', and must be 'wal'"):
            sqlite_schema.require_settings(book, Path(":memory:"))


def test_a_library_that_is_too_old_is_told() -> None:
    """With the version that it takes."""
    with pytest.raises(StorageError, match=r"this Python has SQLite 3\.36\.9; the store needs 3\.37\.0 or newer"):
        sqlite_schema.require_library((3, 36, 9))


# What can never change


def test_what_is_final_cannot_be_changed_by_hand(path: Path, url: str) -> None:
    """The file itself refuses, whichever program tries; only the count of openings stays free."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1], number=WINNING)])
        store.seal_and_draw(1, expected=1, pick=winning)
    with by_hand(path) as book:
        for statement in [
            "UPDATE draw SET number = 1",
            "UPDATE draw SET number = NULL",
            "DELETE FROM draw",
            "UPDATE draw SET bets = 2",
            "UPDATE draw SET digest = NULL",
            "INSERT OR REPLACE INTO draw VALUES (1, NULL, NULL, NULL)",
            "INSERT INTO upload (draw, agency) VALUES (1, 2)",
            "UPDATE upload SET stored = 2",
            "UPDATE upload SET agency = 2",
            "UPDATE upload SET voided = 1",
            "DELETE FROM upload",
            "INSERT INTO batch VALUES (2, 1, 1, 1, x'00')",
            "INSERT OR REPLACE INTO batch VALUES (1, 1, 1, 1, x'00')",
            "UPDATE batch SET bets = x'00'",
            "DELETE FROM batch",
            "INSERT INTO seal VALUES (1, 2)",
            "UPDATE seal SET agency = 2",
            "DELETE FROM seal",
            "INSERT INTO winner VALUES (1, 1, 1, '00000002')",
            "UPDATE winner SET document = '00000002'",
            "DELETE FROM winner",
            "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 1",
            "UPDATE audit SET agency = 2",
            "DELETE FROM audit",
        ]:
            with pytest.raises(sqlite3.IntegrityError, match=r"the draw is over|(a stored batch|an audit entry) never"):
                book.execute(statement)
        book.execute("UPDATE upload SET epoch = epoch + 1")


def test_a_stored_batch_cannot_be_changed_before_the_draw(path: Path, url: str) -> None:
    """Bets are evidence from the moment they are stored."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    with by_hand(path) as book:
        for statement in ["UPDATE batch SET bets = x'00'", "DELETE FROM batch"]:
            with pytest.raises(sqlite3.IntegrityError, match="a stored batch never changes"):
                book.execute(statement)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM batch WHERE seq = 3",
        "DELETE FROM batch WHERE upload = 2",
        "UPDATE batch SET bets = replace(bets, '00000002', '00000009') WHERE seq = 2",
        "UPDATE batch SET count = 1 WHERE seq = 1",
        "INSERT INTO batch (upload, first_row, count, bets) SELECT 1, 9, count, bets FROM batch WHERE seq = 2",
        "UPDATE upload SET stored = 9 WHERE id = 2",
    ],
)
def test_no_draw_over_a_book_that_is_not_what_was_stored(path: Path, url: str, damage: str) -> None:
    """Bets that are missing, changed or new are noticed, and nothing is drawn: no number, no winner, no seal."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1, 2]), sample_batch([2]), sample_batch([3]), sample_batch([4], agency=2)])
    with by_hand(path) as book:
        for trigger in ("update", "delete"):
            book.execute(f"DROP TRIGGER batch_is_kept_on_{trigger}")
        book.execute(damage.replace("replace(bets", "CAST(replace(bets").replace("'00000009')", "'00000009') AS BLOB)"))
        assert book.total_changes == 1
    with open_store(url) as store:
        with pytest.raises(StorageError, match=rf"^{path}: the bets of agency \d are not those that were stored$"):
            store.seal_and_draw(1, expected=1, pick=winning)
        with pytest.raises(StorageError, match="the store has failed"):
            store.state()
    with open_store(url) as store:
        assert not store.state().drawn
        assert store.state().sealed == frozenset()


def test_damage_in_a_winning_bet_is_no_traceback(path: Path, url: str) -> None:
    """A document that is no text any more is met before the sums are compared; it ends the same way."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1, 2], number=WINNING)])
    with by_hand(path) as book:
        book.execute("DROP TRIGGER batch_is_kept_on_update")
        book.execute("UPDATE batch SET bets = CAST(replace(CAST(bets AS TEXT), '00000002', ?) AS BLOB)", (b"\xff" * 8,))
        assert book.total_changes == 1
    with (
        open_store(url) as store,
        pytest.raises(StorageError, match=rf"^{path}: the bets of agency 1 are not those that were stored$"),
    ):
        store.seal_and_draw(1, expected=1, pick=winning)


@pytest.mark.parametrize("kind", ["native", "pure"])
def test_a_draw_finds_all_winners_in_many_batches(url: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, whatever codec searches: with a thread of its own, where that is of use, or without. Several uploads
    of one agency may lie between each other, and those that were voided do not win."""
    monkeypatch.setattr(sqlite_draw, "codec_info", lambda: CodecInfo(kind=kind, reason="", digest=""))
    monkeypatch.setattr(sqlite_draw, "_BATCHES_AT_ONCE", 7)
    with open_store(url) as store:
        tickets = [opened(store, total=40, which=which) for which in range(3)]
        gone = opened(store, total=41, agency=3)
        for row in range(40):
            parts = [part(ticket, [row], number=WINNING) for ticket in (*tickets, gone)]
            store.commit([*parts, Parcel(runs=sample_batch([row, 50 + row], agency=2, number=WINNING))])
        store.void(gone.upload, reason="a test")
        for agency in (2, 3):
            assert store.seal_and_draw(agency, expected=3, pick=no_pick).newly_sealed
        assert store.seal_and_draw(1, expected=3, pick=winning).drawn_now
        assert list(store.winners(1) or ()) == rows_of(*(row for row in range(40) for _ in tickets))
        assert list(store.winners(2) or ()) == rows_of(*(row + more for row in range(40) for more in (0, 50)))
        assert store.winners(3) == ()
        assert store.state().bets == 40 * 5


@pytest.mark.parametrize("way", ["as they came", "some by an earlier process", "some voided", "the first ones voided"])
def test_a_draw_is_signed_alike_however_its_bets_were_hashed(path: Path, way: str) -> None:
    """As they are stored where this process has stored all of them, else from the book; voided ones never count."""
    first, second = sample_batch(range(2000)), sample_batch(range(2000, 4000))
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(SqliteStore(path))
        if way == "the first ones voided":
            append_to(store, [sample_batch([1])])
            store.void(1, reason="a test")
        append_to(store, [first])
        if way == "some voided":
            store.void(1, reason="a test")
            append_to(store, [first])
        if way == "some by an earlier process":
            store.close()
            store = stack.enter_context(SqliteStore(path))
        append_to(store, [second])
        store.seal_and_draw(1, expected=1, pick=winning)
        digest = hashlib.sha256(b"".join(run.encoded for run in (*first, *second))).hexdigest()
        assert (store.state().bets, store.state().digest) == (4000, digest)


def test_a_batch_that_holds_no_bets_is_named(path: Path, url: str) -> None:
    """By its number in the book."""
    with open_store(url) as store:
        append_to(store, [sample_batch([1])])
    with by_hand(path) as book:
        book.execute("INSERT INTO batch VALUES (5, 1, 1, 1, x'002b01')")
    with open_store(url) as store, pytest.raises(StorageError, match=rf"^{path}: batch 5 is damaged: "):
        list(store.bets())


def test_a_book_that_lacks_a_table_is_told(path: Path, url: str) -> None:
    """When it is opened: somebody has cleaned up too much."""
    open_store(url).close()
    with by_hand(path) as book:
        book.execute("DROP TABLE seal")
    with pytest.raises(StorageError, match=rf"^{path}: cannot be used: no such table: seal$"):
        open_store(url)


def test_a_book_with_damaged_pages_is_told(path: Path, url: str) -> None:
    """When it is opened, and when a disk spoils it later."""
    with open_store(url) as store:
        append_to(store, [sample_batch(range(100))] * 100)
    with open_store(url) as store:
        spoil(path)
        with pytest.raises(StorageError, match=rf"^{path}: cannot be used: .*malformed"):
            list(store.bets())
    with pytest.raises(StorageError, match=rf"^{path}: cannot be used: .*malformed"):
        open_store(url)


def spoil(path: Path) -> None:
    """Overwrite all but the first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


# No room


def limit(store: SqliteStore, pages: int | None = None) -> None:
    """Let the database grow to so many pages only, as on a disk of that size; None: to as many as it has."""
    store._file.connection.execute(f"PRAGMA max_page_count = {pages or pragma(store._file.connection, 'page_count')}")


def fill(store: SqliteStore, group: Sequence[Sequence[BetRun]]) -> str:
    """Store the group until there is no more room, and give back what the store says then."""
    for _ in range(1000):
        try:
            append_to(store, group)
        except StoreFull as error:
            return str(error)
    pytest.fail("there is always room")


def test_a_full_store_refuses_and_goes_on(path: Path) -> None:
    """Nothing of the refused group is stored, whatever was stored before is, and when there is room it goes on."""
    with SqliteStore(path) as store:
        limit(store)
        group = [sample_batch(range(200), agency=agency) for agency in (1, 2, 3)]
        assert fill(store, group) == f"{path}: there is no room: database or disk is full"
        stored = store.state().bets_by_agency[1]
        for _ in range(2):
            before = store.state()
            assert before.bets_by_agency == dict.fromkeys((1, 2, 3), stored)
            with pytest.raises(StoreFull):
                append_to(store, group)
        limit(store, 1_000_000)
        assert append_to(store, group) == [Verdict.STORED] * 3
        assert store.state().bets_by_agency == dict.fromkeys((1, 2, 3), stored + 200)
    with by_hand(path) as book:
        assert pragma(book, "integrity_check") == "ok"
    with SqliteStore(path) as store:
        assert documents(store.bets(2)) == rows_of(*range(200)) * (stored // 200 + 1)
        store.seal_and_draw(1, expected=1, pick=winning)  # which verifies the book


def test_a_draw_without_room_changes_nothing(path: Path) -> None:
    """Not even the agency is sealed; when there is room, the draw takes place."""
    winners = sample_batch(range(1000), number=WINNING)
    with SqliteStore(path) as store:
        for _ in range(80):
            append_to(store, [winners])
        limit(store)
        fill(store, [sample_batch(range(1000))])
        before = store.state()
        with pytest.raises(StoreFull):
            store.seal_and_draw(1, expected=1, pick=winning)
        assert store.state() == before
        assert store.winners(1) is None
        limit(store, 1_000_000)
        outcome = store.seal_and_draw(1, expected=1, pick=winning)
        assert outcome == SealOutcome(newly_sealed=True, drawn=True, drawn_now=True)
        assert store.winners(1) == tuple(rows_of(*range(1000)) * 80)


def test_a_store_whose_disk_fails_stops(path: Path) -> None:
    """An error that is not lack of room: nobody is answered, and nothing but closing works from then on."""
    store = SqliteStore(path)
    append_to(store, [sample_batch([1])])
    # Foreign keys are what a program's own mistake would break; for the store it is as unexpected as a broken disk.
    store._file.connection.execute("INSERT INTO batch VALUES (NULL, 1, 1, 1, x'00')")
    with pytest.raises(StorageError, match=rf"^{path}: cannot be used: UNIQUE constraint failed") as raised:
        append_to(store, [sample_batch([2])])
    assert not isinstance(raised.value, StoreFull)
    for _ in range(2):
        with pytest.raises(StorageError, match="the store has failed: UNIQUE"):
            append_to(store, [sample_batch([3])])
    with pytest.raises(StorageError, match="the store has failed"):
        store.winners(1)
    store.close()
    with pytest.raises(StorageError, match="the store has failed"):
        store.state()
    with SqliteStore(path) as store:
        assert store.state() == DrawState(draw=1, number=None, sealed=frozenset(), bets_by_agency={1: 1})


# Uploads


def test_a_group_costs_few_statements_however_large_it_is(path: Path) -> None:
    """Each of them gives up the interpreter's lock: parcels of one upload and rows of one table go in together."""
    with SqliteStore(path) as store:
        tickets = [opened(store, total=99, agency=agency) for agency in (1, 2, 3, 4)]
        statements: list[str] = []
        store._file.connection.set_trace_callback(statements.append)
        store.commit([part(ticket, [row]) for row in range(12) for ticket in tickets])
        store._file.connection.set_trace_callback(None)
        # A statement shows once more for each trigger that it sets off.
        ran = [statement.split()[0] for statement, _ in itertools.groupby(statements)]
        assert ran == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
        assert [upload.stored for upload in store.uploads()] == [12] * 4


def test_the_memory_holds_a_bounded_number_of_uploads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not held is looked up in the book: its ticket is as good as any other."""
    monkeypatch.setattr(sqlite_store, "_MAX_UPLOADS_IN_MEMORY", 3)
    with SqliteStore(path) as store:
        tickets = [opened(store, total=4, which=which) for which in range(8)]
        for row in range(4):
            receipts = store.commit([part(ticket, [row]) for ticket in tickets])
            assert [receipt.stored for receipt in receipts] == [row + 1] * 8
            assert len(store._uploads) == 3
        assert store.void(opened(store, total=4, which=9).upload, reason="any").voided
        assert all(upload.finished for upload in store.uploads()[:8])


def test_an_upload_that_was_changed_behind_the_store_ends_it(path: Path) -> None:
    """The file has the last word: the row must stand where the verdict found it, or nothing is written."""
    changes = ["epoch = epoch + 1", "stored = 0, crc32 = 0", "total = 2, stored = 2", "voided = 1"]
    for number, change in enumerate(changes):
        with SqliteStore(path, draw=number) as store:
            ticket = opened(store, total=4)
            store.commit([part(ticket, [0, 1])])
            store._file.connection.execute(f"UPDATE upload SET {change} WHERE id = ?", (ticket.upload,))
            with pytest.raises(StorageError, match="an upload was changed by another program"):
                store.commit([part(ticket, [2])])
            with pytest.raises(StorageError, match="the store has failed"):
                store.uploads()
        with by_hand(path) as book:
            assert book.execute("SELECT sum(count) FROM batch WHERE upload = ?", (ticket.upload,)).fetchone() == (2,)


def test_a_row_of_an_upload_can_be_stored_once(path: Path) -> None:
    """Should all else be wrong, the file refuses a second copy."""
    with SqliteStore(path) as store:
        ticket = opened(store, total=4)
        store.commit([part(ticket, [0, 1])])
        store._file.connection.execute("UPDATE upload SET stored = 0, crc32 = 0")
        store._uploads.clear()
        with pytest.raises(StorageError, match=r"UNIQUE constraint failed: batch\.upload, batch\.first_row"):
            store.commit([part(ticket, [0, 1])])


def test_a_voided_upload_cannot_be_changed_by_hand(path: Path, url: str) -> None:
    """Not even taken back: it was audited."""
    with open_store(url) as store:
        store.void(opened(store, total=4).upload, reason="any")
    with by_hand(path) as book:
        for change in ("voided = 0", "stored = 1", "epoch = 9"):
            with pytest.raises(sqlite3.IntegrityError, match="a voided upload never changes"):
                book.execute(f"UPDATE upload SET {change}")


def test_what_finds_no_room_changes_nothing(path: Path) -> None:
    """Opening and voiding, like storing: with room again, all of it works."""
    with SqliteStore(path) as store:
        ticket = opened(store, total=10**9)
        limit(store)
        row = 0
        with contextlib.suppress(StoreFull):
            for row in range(0, 1_000_000, 300):
                store.commit([part(ticket, range(row, row + 300))])
        store.max_unfinished_uploads = 10_000
        which = 0
        with contextlib.suppress(StoreFull):
            for which in range(1, 10_000):
                opened(store, total=1, which=which)
        before = store.uploads()
        assert (len(before), before[0].stored) == (which, row)
        with pytest.raises(StoreFull):
            opened(store, total=1, which=which)
        with pytest.raises(StoreFull):
            store.void(ticket.upload, reason="x" * 100_000)
        assert store.uploads() == before
        limit(store, 1_000_000)
        assert store.commit([part(ticket, [row])])[0].stored == row + 1
        assert store.void(ticket.upload, reason="x" * 100_000).voided


def test_bets_of_another_agency_belong_to_no_upload(path: Path) -> None:
    """The handlers refuse them before; the store does not count them as the upload's either."""
    with SqliteStore(path) as store:
        ticket = opened(store, total=4)
        foreign = Parcel(runs=sample_batch([0]) + sample_batch([1], agency=2), ticket=ticket)
        assert [receipt.verdict for receipt in store.commit([foreign])] == [Verdict.FENCED]
        assert store.state().bets_by_agency == {}


def test_an_audit_that_leads_round_is_told(path: Path, url: str) -> None:
    """In a damaged book an entry may come again: the walk ends there instead of going on for ever."""
    with open_store(url) as store:
        for which in range(4):
            opened(store, total=2, which=which)
    data = path.read_bytes()
    row = b"%c\x07\x00\x35"  # its key, and how its header begins: 7 bytes, no other key, a text of 20 bytes
    assert data.count(row % 3) == 1
    path.write_bytes(data.replace(row % 3, row % 1))
    with open_store(url) as store, pytest.raises(StorageError, match=r"is damaged: audit entry 1 follows entry 2$"):
        list(store.audit())
