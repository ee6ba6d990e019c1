"""Uploads in the legacy `bets.csv`: whose line is whose, lines of other programs beside them, and older journals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import RejectCode, StorageError
from bets_server.store import BetStore, DrawState, Parcel, Verdict, open_store
from bets_server.store.conformance import (
    WINNING,
    crc32_of,
    documents,
    no_pick,
    opened,
    part,
    rows_of,
    sample_batch,
    upload_id,
    winning,
)
from tests.server.store.csv_files import event

LEGACY = (
    b"1,Ana,Paz,30904465,1999-03-17,7574\r\n2,Ana,Paz,00000002,2000-02-29,0\r\n1,Ana,Paz,34407251,2001-08-29,1033\r\n"
)


# Whose line is whose


def test_uploads_of_one_agency_may_lie_between_each_other(path: Path, url: str) -> None:
    """Each keeps its lines, wherever they stand; those of a voided one stay in the file and count nowhere."""
    with open_store(url) as store:
        tickets = [opened(store, total=6, which=which) for which in range(3)]
        for row in range(0, 6, 2):
            store.commit([part(ticket, [row + step]) for step in (0, 1) for ticket in tickets])
        store.append([sample_batch([7], agency=2), sample_batch([8], agency=3)])
        unfinished = opened(store, total=9, which=3)
        store.commit([part(unfinished, [0, 1])])
        store.append([sample_batch([9], agency=2)])
        content = path.read_bytes()
        store.void(unfinished.upload, reason="wrong file")
        assert path.read_bytes() == content
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(*(row for row in range(6) for _ in range(3)), 7, 8, 9)
        assert store.state().bets_by_agency == {1: 18, 2: 2, 3: 1}
        assert [upload.crc32 for upload in store.uploads()[:3]] == [crc32_of(range(6))] * 3
        assert [line.count(b",") for line in content.splitlines()] == [6] * 23


def test_a_line_that_was_given_to_another_agency_is_told(path: Path, url: str) -> None:
    """Nobody knows which upload it would belong to; the draw does not take place."""
    with open_store(url) as store:
        ticket = opened(store, total=3)
        store.commit([part(ticket, [0, 1, 2])])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"2" + lines[1][1:] + lines[2])
    with open_store(url) as store:
        with pytest.raises(StorageError, match=rf"^{path}:2: is of agency 2, which has stored none here$"):
            list(store.bets())
        with pytest.raises(StorageError, match=rf"^{path}:2: is of agency 2"):
            store.seal_and_draw(1, expected=1, pick=winning)


@pytest.mark.parametrize(("old", "new"), [(b"1,", b"2,"), (b"00000001", b"00000009")])
def test_no_draw_over_lines_that_are_not_what_was_stored(path: Path, url: str, old: bytes, new: bytes) -> None:
    """A line that went from one agency to another, or names another person: noticed, and nothing is drawn."""
    with open_store(url) as store:
        first, second = opened(store, total=3), opened(store, agency=2, total=3)
        store.commit([part(first, [0, 1, 2]), part(second, [0, 1, 2])])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(old, new, 1) + b"".join(lines[2:]))
    with open_store(url) as store:
        with pytest.raises(StorageError, match=rf"^{path}: the bets of agency 1 are not those that were stored$"):
            store.seal_and_draw(1, expected=1, pick=winning)
        with pytest.raises(StorageError, match="the store has failed"):
            store.state()
    with open_store(url) as store:
        assert (store.state().drawn, store.state().sealed) == (False, frozenset())


def test_an_event_cut_at_any_byte_did_not_happen(tmp_path: Path, path: Path, url: str, journal: Path) -> None:
    """Opening, sealing, voiding: each of them is there whole or not at all, and the next event takes its place."""
    known = {}

    def note(store: BetStore) -> None:
        known[len(journal.read_bytes())] = store.state(), store.uploads(), [*store.audit()]

    with open_store(url) as store:
        store.append([sample_batch([1], agency=2)])
        note(store)
        ticket = opened(store, total=3)
        note(store)
        store.commit([part(ticket, [0])])
        rows = path.read_bytes()
        note(store)
        store.seal_and_draw(2, expected=2, pick=no_pick)
        note(store)
        store.void(1, reason="sent twice")
        note(store)
    whole = journal.read_bytes()
    first, last = min(known), max(known)
    for end in range(first, last + 1):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / "bets.csv").write_bytes(rows)
        (folder / "bets.csv.journal").write_bytes(whole[:end])
        with open_store(f"csv:///{folder}/bets.csv") as store:
            now = store.state(), store.uploads(), [*store.audit()]
            assert now == known[max(size for size in known if size <= end)]
            opening = store.open_upload(1, upload_id(0), total=3)
            assert opening.code is RejectCode.OK
        shutil.rmtree(folder)


# Lines of other programs


def test_lines_added_for_an_agency_with_uploads_are_an_error(path: Path, url: str, journal: Path) -> None:
    """They belong to no upload; nothing is changed, and once they are gone the store opens again."""
    with open_store(url) as store:
        opened(store, total=3, agency=2)
    before = path.read_bytes(), journal.read_bytes()
    with path.open("ab") as file:
        file.write(LEGACY)
    with pytest.raises(StorageError, match=rf"^{path}:2: was added, though agency 2 sends uploads$"):
        open_store(url)
    assert journal.read_bytes() == before[1]
    path.write_bytes(before[0])
    open_store(url).close()


def test_lines_added_by_another_program_are_anonymous(path: Path, url: str) -> None:
    """They join what the agency has sent, and after that was voided, they are a new upload."""
    path.write_bytes(LEGACY)
    with open_store(url) as store:
        assert [(upload.number, upload.agency, upload.stored) for upload in store.uploads()] == [(1, 1, 2), (2, 2, 1)]
        assert [entry.event for entry in store.audit()] == ["open", "open"]
        assert store.open_upload(1, upload_id(0), total=3).code is RejectCode.MODE_CONFLICT
        store.append([sample_batch([5])])
        assert [entry.event for entry in store.audit()] == ["open", "open"]
        store.void(1, reason="test data")
    with path.open("ab") as file:
        file.write(LEGACY)
    for _ in range(2):
        with open_store(url) as store:
            found = [(upload.number, upload.agency, upload.stored, upload.voided) for upload in store.uploads()]
            assert found == [(1, 1, 3, True), (2, 2, 2, False), (3, 1, 2, False)]
            assert documents(store.bets(1)) == ["30904465", "34407251"]
            assert documents(store.bets(2)) == ["00000002"] * 2
    with open_store(url) as store:
        assert opened(store, total=0, agency=9).upload == 4
        assert [entry.event for entry in store.audit()] == ["open", "open", "void", "open", "open"]


def test_uploads_are_numbered_through_all_draws(url: str) -> None:
    """A number means one upload of the store, whichever draw it is asked about."""
    for draw in (1, 2, 1):
        with open_store(url, draw=draw) as store:
            store.append([sample_batch([draw]), sample_batch([draw], agency=draw + 1)])
            opened(store, total=2, agency=9, which=draw)
    numbers = []
    for draw in (1, 2):
        with open_store(url, draw=draw) as store:
            numbers.append([upload.number for upload in store.uploads()])
    assert numbers == [[1, 2, 3], [4, 5, 6]]


# Journals of version 1

OLD_ROWS = b"".join(
    b"%d,Ana,Paz,%08d,1999-03-17,7574\r\n" % (agency, row) for row, agency in enumerate([1, 2, 1, 1, 2, 2])
)
OLD_EVENTS = [
    b'{"event":"journal","of":"bets.csv","version":1}',
    b'{"event":"opened"}',
    b'{"event":"bets","draw":1,"length":72,"bets":{"1":1,"2":1}}',
    b'{"event":"sealed","draw":1,"agency":2}',
    b'{"event":"drawn","draw":1,"agency":1,"number":7574,"winners":{"1":["00000000"],"2":["00000001"]}}',
    b'{"event":"bets","draw":2,"length":216,"bets":{"1":2,"2":2}}',
    b'{"event":"sealed","draw":2,"agency":1}',
    b'{"event":"closed"}',
]


@pytest.fixture
def old(path: Path, journal: Path) -> bytes:
    """A file of version 1: draw 1 is over, draw 2 is open. The journal's bytes."""
    path.write_bytes(OLD_ROWS)
    journal.write_bytes(b"".join(event(text) for text in OLD_EVENTS))
    return journal.read_bytes()


def test_an_old_journal_is_read(url: str, journal: Path, old: bytes) -> None:
    """All that it told is there, nothing is written, and what it did not know is told as unknown."""
    with open_store(url) as store:
        expected = DrawState(draw=1, number=7574, sealed=frozenset({1, 2}), bets_by_agency={1: 1, 2: 1}, bets=2)
        assert store.state() == expected
        assert [store.winners(agency) for agency in (1, 2)] == [("00000000",), ("00000001",)]
        told = [(entry.at, entry.draw, entry.event, entry.agency) for entry in store.audit()]
        assert told == [
            ("", 1, "open", 1),
            ("", 1, "open", 2),
            ("", 1, "seal", 2),
            ("", 1, "draw", None),
            ("", 2, "open", 1),
            ("", 2, "open", 2),
            ("", 2, "seal", 1),
        ]
    with open_store(url, draw=2) as store:
        assert store.state().sealed == {1}
        assert [(upload.number, upload.agency, upload.stored) for upload in store.uploads()] == [(3, 1, 2), (4, 2, 2)]
    assert journal.read_bytes() == old


def test_an_old_journal_goes_on_as_a_new_one(url: str, journal: Path, old: bytes) -> None:
    """The first write says so, at which a program that knows the old version alone stops; voiding tells lines apart
    by their agency."""
    with open_store(url, draw=2) as store:
        assert store.append([sample_batch([9], agency=2), sample_batch([9])]) == [Verdict.STORED, Verdict.SEALED]
        store.void(4, reason="sent twice")
        store.commit([Parcel(lots=sample_batch([8], agency=2, number=WINNING))])
    added = journal.read_bytes().removeprefix(old)
    assert added.splitlines()[0] + b"\n" == event(b'{"event":"journal","of":"bets.csv","version":2}')
    assert added.count(b'"version"') == 1
    with open_store(url, draw=2) as store:
        assert [(upload.number, upload.stored, upload.voided) for upload in store.uploads()] == [
            (3, 2, False),
            (4, 3, True),
            (5, 1, False),
        ]
        assert documents(store.bets()) == rows_of(2, 3, 8)
        assert store.seal_and_draw(2, expected=2, pick=winning).drawn_now
        assert [store.winners(agency) for agency in (1, 2)] == [tuple(rows_of(2, 3)), tuple(rows_of(8))]
    with open_store(url, draw=1) as store:
        assert store.state().drawn
    assert journal.read_bytes().count(b'"version"') == 2


@pytest.mark.parametrize("versions", [[1, 1], [2, 2], [2, 1], [1, 2, 2], [1, 2, 1]])
def test_a_journal_never_goes_back(path: Path, url: str, journal: Path, versions: list[int]) -> None:
    """To its own version or an older one."""
    path.touch()
    journal.write_bytes(
        b"".join(event(b'{"event":"journal","of":"bets.csv","version":%d}' % version) for version in versions)
    )
    with pytest.raises(StorageError, match=rf"^{journal}:{len(versions)}: the line is damaged$"):
        open_store(url)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"opened"', b'"opener"'), *lines[2:]], ":2: the line is damaged"),
        (lambda lines: [*lines[:2], lines[3], lines[2]], ":3: bets up to byte .* do not follow byte .*"),
        (lambda lines: [*lines[:3], lines[3][:-1] + b"?"], ":4: the line is damaged"),
        (lambda lines: lines[:3], ": the file has become shorter"),
    ],
)
def test_an_audit_over_a_damaged_journal_changes_nothing(
    url: str, journal: Path, damage: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    """It is told, with the line; what is stored later counts all the same."""
    with open_store(url) as store:
        store.append([sample_batch([1])])
        store.append([sample_batch([2])])
        whole = journal.read_bytes()
        journal.write_bytes(b"".join(damage(whole.splitlines(keepends=True))))
        with pytest.raises(StorageError, match=rf"^{journal}{message}$"):
            list(store.audit())
        journal.write_bytes(whole)
        store.append([sample_batch([3])])
    with open_store(url) as store:
        assert documents(store.bets()) == rows_of(1, 2, 3)


# Events that somebody has written, with a checksum that is right


_OPEN = b'{"event":"upload","draw":1,"upload":1,"agency":1,"id":"%s","total":2,"epoch":%d}'
_ID = b"07" * 16
_BETS = b'{"event":"bets","draw":1,"length":%d,"runs":[%s]}'
_DRAWN = b'{"event":"drawn","draw":1,"agency":1,"number":7574,"winners":{}}'


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        # no JSON, in an encoding that JSON may be in, or too deep for the reader
        ([b""], "the line is whole, but Expecting value: .*"),
        ([b'{"event"'], "the line is whole, but Expecting .*"),
        ([b"\0{"], "the line is whole, but Expecting value: .*"),
        ([b"\xff"], "the line is whole, but 'utf-8' codec .*"),
        ([b"[" * 100_000], "the line is whole, but maximum recursion depth .*"),
        ([b"1" * 10_000], "the line is whole, but Exceeds the limit .*"),
        # no event, or one whose fields are not what they must be
        ([b"7"], "the line is whole, but is not an event"),
        ([b"{}"], "the line is whole, but is not an event"),
        ([b'{"event":[]}'], "the line is whole, but is not an event"),
        ([b'{"event":"sealed","draw":1}'], "the line is whole, but the event 'sealed' lacks 'agency'"),
        ([b'{"event":"sealed","draw":1,"agency":256}'], "the line is whole, but 'agency' of the event 'sealed' is 256"),
        ([b'{"event":"sealed","draw":1,"agency":true}'], ".* 'agency' of the event 'sealed' is True"),
        ([b'{"event":"sealed","draw":1,"agency":1,"note":"\\ud800"}'], r".* 'note' of the event 'sealed' is '\\ud800'"),
        ([b'{"event":"sealed","draw":1,"agency":1,"forced":1}'], ".* 'forced' of the event 'sealed' is 1"),
        ([_OPEN % (b"0", 1)], ".* 'id' of the event 'upload' is '0'"),
        ([b'{"event":"bets","draw":1,"length":0}'], ".* the event 'bets' must have either 'runs' or 'bets'"),
        ([_BETS % (0, b"[1,1,1]")], r".* 'runs' of the event 'bets' is \[\[1, 1, 1\]\]"),
        ([_BETS % (0, b"7")], r".* 'runs' of the event 'bets' is \[7\]"),
        ([b'{"event":"bets","draw":1,"length":0,"bets":{"x":1}}'], ".* 'bets' of the event 'bets' is {'x': 1}"),
        ([b'{"event":"bets","draw":1,"length":0,"bets":{"1":0}}'], ".* 'bets' of the event 'bets' is {'1': 0}"),
        ([_DRAWN.replace(b"7574", b"10000")], ".* 'number' of the event 'drawn' is 10000"),
        ([_DRAWN.replace(b"{}", b'{"1":"x"}')], ".* 'winners' of the event 'drawn' is {'1': 'x'}"),
        # events that contradict those before
        ([_BETS % (9, b"[1,1,1,33,0]")], "bets up to byte 9 do not follow byte 0"),
        ([_BETS % (33, b"[1,1,1,33,0]"), _BETS % (0, b"")], "bets up to byte 0 do not follow byte 33"),
        ([_BETS % (33, b"[2,1,1,33,0]")], "upload 2 of agency 1 was not opened"),
        ([_BETS % (66, b"[1,1,1,33,0],[2,1,1,33,0]")], "upload 2 of agency 1 was not opened"),
        ([_BETS % (66, b"[1,1,1,33,0],[1,2,1,33,0]")], "upload 1 cannot have 1 bets more of agency 2"),
        ([_OPEN % (_ID, 1), _BETS % (33, b"[1,1,3,33,0]")], "upload 1 cannot have 3 bets more of agency 1"),
        (
            [_OPEN.replace(b'"draw":1', b'"draw":2') % (_ID, 1), _BETS % (33, b"[1,1,1,33,0]")],
            "upload 1 is of another draw",
        ),
        ([(_OPEN % (_ID, 1)).replace(b'"upload":1', b'"upload":3')], "upload 3 follows upload 0"),
        ([_OPEN % (_ID, 2)], "upload 1 was opened otherwise before"),
        ([_OPEN % (_ID, 1), _OPEN % (_ID, 1)], "upload 1 was opened otherwise before"),
        ([_OPEN % (_ID, 1), _OPEN % (b"08" * 16, 2)], "upload 1 was opened otherwise before"),
        (
            [_OPEN % (_ID, 1), (_OPEN % (_ID, 2)).replace(b'"total":2', b'"total":3')],
            "upload 1 was opened otherwise before",
        ),
        (
            [_OPEN % (_ID, 1), (_OPEN % (_ID, 1)).replace(b'"upload":1', b'"upload":2')],
            "upload 2 was opened otherwise before",
        ),
        (
            [b'{"event":"void","draw":1,"upload":1,"agency":1,"reason":""}'],
            "agency 1 has no upload 1 that could be voided",
        ),
        (
            [_OPEN % (_ID, 1), b'{"event":"void","draw":1,"upload":1,"agency":2,"reason":""}'],
            "agency 2 has no upload 1 that could be voided",
        ),
        ([_DRAWN, _DRAWN], "draw 1 is over since an event before"),
    ],
)
def test_an_event_that_cannot_be_is_told(path: Path, url: str, journal: Path, texts: list[bytes], says: str) -> None:
    """With its line, and nothing is changed: the checksum tells accidents only."""
    path.write_bytes(b"x" * 99)
    texts = [b'{"event":"journal","of":"bets.csv","version":2}', *texts]
    content = b"".join(event(text) for text in texts) + event(b'{"event":"closed"}')
    journal.write_bytes(content)
    with pytest.raises(StorageError, match=rf"^{journal}:{len(texts)}: {says}$"):
        open_store(url)
    assert (path.read_bytes(), journal.read_bytes()) == (b"x" * 99, content)


def test_an_event_that_nobody_follows_is_passed_over(url: str, journal: Path, path: Path) -> None:
    """Its name alone must be a text."""
    path.touch()
    journal.write_bytes(event(b'{"event":"journal","of":"bets.csv","version":2}') + event(b'{"event":"tea","draw":[]}'))
    with open_store(url) as store:
        assert store.state().bets_by_agency == {}
