"""Power cuts: the writes of a server that strace recorded, played back up to a random moment, with losses.

What was flushed (fsync, fdatasync) before that moment is on the disk of every state; of what was written since, each
write may be there, or not, or torn at a sector. What the server had answered by then is in the recording, too.

Limits: that a file exists counts as durable at once; that one was removed may be undone. The disk keeps its promise
of a flush. What was written before the recording began counts as flushed.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from bets_server.store import open_store
from tests.campaigns.faults.book import Book, read_book
from tests.campaigns.faults.invariants import check_book, check_promises
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.stage import Stage
from tests.campaigns.faults.strace import attached, strace_missing
from tests.campaigns.faults.witness import OK, Talk

STATES = 250
SECTOR_BYTES = 512
CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink,sendto"

_BEGUN = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_HEX = r"((?:\\x[0-9a-f]{2})*)"
_WRITE = re.compile(rf'pwrite64\(\d+<{_HEX}>, "{_HEX}", \d+, (\d+)\) += (\d+)')
_FLUSH = re.compile(rf"f(?:data)?sync\(\d+<{_HEX}>\) += 0")
_CUT = re.compile(rf"ftruncate\(\d+<{_HEX}>, (\d+)\) += 0")
_UNLINK = re.compile(rf'unlink\("{_HEX}"\) += 0')
_SEND = re.compile(rf'sendto\(\d+<{_HEX}>, "{_HEX}", \d+, .*\) += (\d+)')


@attrs.frozen
class Deed:
    """One recorded call: `write` (position, data), `cut` (position), `flush`, `unlink` of a file; `send` of data."""

    what: str
    name: str
    position: int = 0
    data: bytes = b""


def unhexed(text: str) -> bytes:
    """What strace wrote as hexadecimal bytes."""
    return bytes.fromhex(text.replace("\\x", ""))


def _name(text: str) -> str:
    return unhexed(text).decode().rpartition("/")[2]


def deeds(log: str) -> Iterator[Deed]:
    """The calls of a recording; one that was interrupted counts when it ended."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        if found := _BEGUN.fullmatch(line):
            begun[found[1]] = found[2]
            continue
        if found := _RESUMED.fullmatch(line):
            text = begun.pop(found[1], "") + found[2]
        else:
            text = line.partition(" ")[2].lstrip()
        if deed := _deed(text):
            yield deed


def _deed(text: str) -> Deed | None:
    if found := _WRITE.fullmatch(text):
        return Deed("write", _name(found[1]), int(found[3]), unhexed(found[2])[: int(found[4])])
    if found := _FLUSH.fullmatch(text):
        return Deed("flush", _name(found[1]))
    if found := _CUT.fullmatch(text):
        return Deed("cut", _name(found[1]), int(found[2]))
    if found := _UNLINK.fullmatch(text):
        return Deed("unlink", _name(found[1]))
    if found := _SEND.fullmatch(text):
        return Deed("send", unhexed(found[1]).decode(), data=unhexed(found[2])[: int(found[3])])
    return None


class Disk:
    """The files as far as they are flushed, and what was done to them since.

    Args:
        files: their contents, flushed.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self._flushed = {name: bytearray(data) for name, data in files.items()}
        self._pending: list[Deed] = []

    def do(self, deed: Deed) -> None:
        """Takes part of the recording."""
        if deed.what == "flush":
            mine = [each for each in self._pending if each.name == deed.name]
            for each in mine:
                _apply(self._flushed, each)
            self._pending = [each for each in self._pending if each.name != deed.name]
        else:
            self._pending.append(deed)

    def after_a_power_cut(self, source: random.Random) -> dict[str, bytearray]:
        """The files as they may be found."""
        files = {name: bytearray(data) for name, data in self._flushed.items()}
        kept = source.choice([0.0, 0.5, 0.9, 1.0])
        for deed in self._pending:
            if source.random() >= kept:
                continue
            torn = deed.what == "write" and source.random() < 0.2
            end = source.randrange(0, len(deed.data) + 1, SECTOR_BYTES) if torn else len(deed.data)
            _apply(files, attrs.evolve(deed, data=deed.data[:end]))
        return files


def _apply(files: dict[str, bytearray], deed: Deed) -> None:
    if deed.what == "unlink":
        files.pop(deed.name, None)
        return
    file = files.setdefault(deed.name, bytearray())
    if deed.what == "cut":
        del file[deed.position :]
        file.extend(bytes(deed.position - len(file)))
    else:
        file.extend(bytes(max(0, deed.position - len(file))))
        file[deed.position : deed.position + len(deed.data)] = deed.data


def recorded(stage: Stage) -> tuple[dict[str, bytes], list[Deed]]:
    """Has a client upload its file and get its winners, and stops the server; gives the files before, and the deeds."""
    stage.start()
    files = {path.name: path.read_bytes() for path in stage.folder.glob("bets.db*") if path.is_file()}
    tracing = ("-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}")
    with attached(stage.server, stage.folder, *tracing) as log:
        window = str(stage.random.choice([1, 2, 16]))
        stage.send(1, "--batch-max", "10", "--window", window).expect()
        stage.server.stop()
    return files, list(deeds(log.read_text(encoding="ascii", errors="replace")))


def power_lost(folder: Path, seed: int) -> int:
    """One recording, and `STATES` power cuts at random moments of it."""
    with Stage(folder, seed, bets=800).opened() as stage:
        files, history = recorded(stage)
        assert sum(deed.what == "write" for deed in history) > 5, "the recording shows no writes"
        stage.check_scene()
        moments = sorted(stage.random.randrange(len(history) + 1) for _ in range(STATES))
        disk, talks, done = Disk(files), dict[str, Talk](), 0
        # In memory where that can be: it is the disk that is thought up here.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        with tempfile.TemporaryDirectory(prefix="bets-power-", dir=memory) as name:
            for moment in moments:
                for deed in history[done:moment]:
                    if deed.what == "send":
                        talks.setdefault(deed.name, Talk((1, b""))).server_said(deed.data)
                    else:
                        disk.do(deed)
                done = moment
                book = _found(Path(name), disk.after_a_power_cut(stage.random))
                check_book(book, stage.files)
                _check_promises(book, list(talks.values()), stage, moment)
    return STATES


def _found(folder: Path, files: dict[str, bytearray]) -> Book:
    shutil.rmtree(folder)
    folder.mkdir()
    for name, data in files.items():
        if name in ("bets.db", "bets.db-wal", "bets.db-journal"):
            (folder / name).write_bytes(data)
    with open_store(f"sqlite:///{folder / 'bets.db'}", readonly=True):
        pass  # whatever a power cut leaves is a whole book to us
    return read_book(folder / "bets.db", copied=False)


def _check_promises(book: Book, talks: list[Talk], stage: Stage, moment: int) -> None:
    """I1, of bets, of the seal and of the draw."""
    uploads = book.of_agency(1)
    for talk in talks:
        if not talk.statuses or talk.statuses[0].code != OK:
            continue  # no upload was opened on it
        assert uploads, f"I1: call {moment}: the upload that was opened is not in the book"
        upload_id = uploads[0].upload_id or b""
        check_promises(book, [attrs.evolve(talk, opened=(1, upload_id))], stage.files)
        complete = [status for status in talk.statuses if status.stored == len(stage.files[1].bets)]
        assert len(complete) < 2 or 1 in book.sealed, f"I1: call {moment}: the seal was acknowledged and is gone"
        if talk.winners is not None:
            assert book.number == stage.number, f"I1: call {moment}: winners were told and the draw is gone"
            assert talk.winners == book.winners.get(1, []), f"I5: call {moment}: other winners were told"


KINDS = (Kind(name="power-loss", row="11", trials=2000, run=power_lost, per_seed=STATES, obstacle=strace_missing),)
