"""An operator's slips with the files of a store: moved, replaced, copied, linked, deleted.

Those of a server that runs undo themselves. Those of a server that was killed say what must be made of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from bets_server.store import open_store
from bets_server.store.conformance.samples import append_to, sample_batch
from tests.campaigns.faults.stage import StoreFiles

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

# While a server runs. Each slip gives where the part is then (None: its bytes are gone), and undoes itself.
Slip = Callable[[Path], contextlib.AbstractContextManager[Path | None]]


@contextlib.contextmanager
def moved(part: Path) -> Iterator[Path]:
    """`mv bets.db week.db`."""
    aside = part.with_name("week" + part.name)
    part.rename(aside)
    yield aside
    aside.replace(part)


@contextlib.contextmanager
def replaced(part: Path) -> Iterator[Path]:
    """A copy in its place; the file itself lies beside."""
    aside, copy = part.with_name("week" + part.name), part.with_name("copy")
    shutil.copyfile(part, copy)
    part.rename(aside)
    copy.rename(part)
    yield aside
    aside.replace(part)


@contextlib.contextmanager
def renamed_over(part: Path) -> Iterator[None]:
    """A copy in its place; the file itself is gone."""
    copy = part.with_name("copy")
    shutil.copyfile(part, copy)
    copy.rename(part)
    yield None
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def deleted(part: Path) -> Iterator[None]:
    """`rm bets.db`."""
    part.unlink()
    yield None


@contextlib.contextmanager
def linked(part: Path) -> Iterator[Path]:
    """`ln bets.db other`."""
    other = part.with_name("other")
    os.link(part, other)
    yield part
    other.unlink()


OF_A_PART: tuple[Slip, ...] = (moved, replaced, renamed_over, deleted, linked)


@contextlib.contextmanager
def all_moved(book: Path) -> Iterator[Path]:
    """`mv bets.db* ../elsewhere`."""
    target = book.parent.with_name("elsewhere")
    names = [path.name for path in book.parent.iterdir() if path.is_file()]
    for name in names:
        (book.parent / name).rename(target / name)
    yield target / book.name
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (target / name).replace(book.parent / name)


@contextlib.contextmanager
def all_deleted(book: Path) -> Iterator[None]:
    """`rm bets.db*`."""
    for path in book.parent.iterdir():
        path.unlink()
    yield None


def folder_moved(*, left: str) -> Slip:
    """`mv data old`, and in its place nothing, an empty folder or a copy."""

    @contextlib.contextmanager
    def slip(book: Path) -> Iterator[Path]:
        folder, old = book.parent, book.parent.with_name("old")
        folder.rename(old)
        if left == "empty":
            folder.mkdir()
        elif left == "copy":
            folder.mkdir()
            for path in old.iterdir():
                if path.is_file():
                    shutil.copyfile(path, folder / path.name)
        yield old / book.name
        shutil.rmtree(folder, ignore_errors=True)
        old.rename(folder)

    return slip


OF_THE_FOLDER: tuple[Slip, ...] = (
    all_moved,
    all_deleted,
    folder_moved(left="nothing"),
    folder_moved(left="empty"),
    folder_moved(left="copy"),
)


@contextlib.contextmanager
def link_turned(link: Path) -> Iterator[Path]:
    """A store that was opened by a symbolic link, which leads to another file now."""
    main = link.resolve()
    other = main.with_name("other")
    other.touch()
    link.with_name("new").symlink_to(other)
    link.with_name("new").replace(link)
    yield main
    link.unlink()
    link.symlink_to(main)
    other.unlink()


@attrs.frozen
class Scene:
    """What a server left that was killed; slips happen to it.

    Attributes:
        files: of the store.
        early: a folder with the same files at an earlier time, when a server had been killed or stopped.
        serving: likewise, copied while the server ran.
    """

    files: StoreFiles
    early: Path
    serving: Path

    @property
    def elsewhere(self) -> Path:
        """A folder beside that of the store."""
        return self.files.main.parent.with_name("elsewhere")

    def put(self, source: Path, part: Path) -> None:
        """A copy of a file in the place of another."""
        shutil.copyfile(source, part)


# Slips of a scene: each gives the path of the store to open then, and whether that must be refused; undone by putting
# the whole folder back.
SceneSlip = Callable[[Scene], tuple[Path, bool]]


def without_main(scene: Scene) -> tuple[Path, bool]:
    """`mv bets.db` away."""
    scene.files.book.unlink()
    return scene.files.main, True


def with_empty_main(scene: Scene) -> tuple[Path, bool]:
    """`touch bets.db`, after that."""
    scene.files.book.write_bytes(b"")
    return scene.files.main, True


def journal_without_main(scene: Scene) -> tuple[Path, bool]:
    """The log was given the name of a rollback journal, and the main file is not there."""
    scene.files.book.unlink()
    scene.files.log.rename(scene.files.book.with_name(scene.files.book.name + "-journal"))
    return scene.files.main, True


def without_log(scene: Scene) -> tuple[Path, bool]:
    """`rm bets.db-wal`."""
    scene.files.log.unlink()
    return scene.files.main, True


def with_empty_log(scene: Scene) -> tuple[Path, bool]:
    """`> bets.db-wal`."""
    scene.files.log.write_bytes(b"")
    return scene.files.main, True


def log_of_another_book(scene: Scene) -> tuple[Path, bool]:
    """Two books were confused."""
    other = scene.elsewhere / "other.db"
    with open_store(f"sqlite:///{other}") as store:
        append_to(store, [sample_batch([1])])
        scene.put(other.with_name("other.db-wal"), scene.files.log)
    other.unlink()
    return scene.files.main, True


def log_of_an_earlier_day(scene: Scene) -> tuple[Path, bool]:
    """Of the server before this one."""
    scene.put(scene.early / scene.files.log.name, scene.files.log)
    return scene.files.main, True


def main_of_an_earlier_day(scene: Scene) -> tuple[Path, bool]:
    """A backup in the place of the main file only: made when the server before had been killed or stopped."""
    scene.put(scene.early / scene.files.book.name, scene.files.book)
    return scene.files.main, True


def main_copied_while_serving(scene: Scene) -> tuple[Path, bool]:
    """`cp bets.db` under the server, put back when it was dead; no harm where no checkpoint came in between."""
    copy = scene.serving / scene.files.book.name
    same = copy.read_bytes() == scene.files.book.read_bytes()
    scene.put(copy, scene.files.book)
    return scene.files.main, not same


def main_copied_alone(scene: Scene) -> tuple[Path, bool]:
    """`cp bets.db ../elsewhere`, of the dead server's."""
    scene.put(scene.files.book, scene.elsewhere / scene.files.book.name)
    return scene.elsewhere / scene.files.main.name, True


def main_copied_alone_while_serving(scene: Scene) -> tuple[Path, bool]:
    """`cp bets.db ../elsewhere`, under the server."""
    scene.put(scene.serving / scene.files.book.name, scene.elsewhere / scene.files.book.name)
    return scene.elsewhere / scene.files.main.name, True


def second_name(scene: Scene) -> tuple[Path, bool]:
    """`ln bets.db other`."""
    os.link(scene.files.main, scene.elsewhere / scene.files.main.name)
    return scene.files.main, True


def by_the_second_name(scene: Scene) -> tuple[Path, bool]:
    """The same, and opened by it."""
    second_name(scene)
    return scene.elsewhere / scene.files.main.name, True


def stale_journal(scene: Scene) -> tuple[Path, bool]:
    """A rollback journal, which SQLite would apply."""
    journal = scene.files.book.with_name(scene.files.book.name + "-journal")
    journal.write_bytes(JOURNAL_MAGIC + bytes(1000))
    return scene.files.main, True


def log_over_a_closed_book(scene: Scene) -> tuple[Path, bool]:
    """A log that was copied while the server ran, beside the main file of its end (`closed` has it end in order)."""
    scene.put(scene.serving / scene.files.log.name, scene.files.log)
    return scene.files.main, True


def nothing(scene: Scene) -> tuple[Path, bool]:
    """No slip."""
    return scene.files.main, False


def moved_together(scene: Scene) -> tuple[Path, bool]:
    """`mv bets.db* ../elsewhere`."""
    for path in list(scene.files.main.parent.iterdir()):
        path.rename(scene.elsewhere / path.name)
    return scene.elsewhere / scene.files.main.name, False


def copied_together(scene: Scene) -> tuple[Path, bool]:
    """`cp bets.db* ../elsewhere`."""
    for path in scene.files.main.parent.iterdir():
        if path.is_file():
            scene.put(path, scene.elsewhere / path.name)
    return scene.elsewhere / scene.files.main.name, False


def symbolic_link(scene: Scene) -> tuple[Path, bool]:
    """`ln -s`, and opened by it."""
    link = scene.elsewhere / scene.files.main.name
    link.symlink_to(scene.files.main)
    return link, False


AFTER_A_KILL: tuple[SceneSlip, ...] = (
    without_main,
    with_empty_main,
    journal_without_main,
    without_log,
    with_empty_log,
    log_of_another_book,
    log_of_an_earlier_day,
    main_of_an_earlier_day,
    main_copied_while_serving,
    main_copied_alone,
    main_copied_alone_while_serving,
    second_name,
    by_the_second_name,
    stale_journal,
    log_over_a_closed_book,
    nothing,
    moved_together,
    copied_together,
    symbolic_link,
)
