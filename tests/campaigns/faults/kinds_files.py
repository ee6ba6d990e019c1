"""An operator's slips with the files of a store: moved, replaced, copied, linked, deleted; a second server beside.

Of each slip it is known what the programs must make of it: refuse, with every byte left as it was, or go on with all
that was acknowledged. Once it is undone, everyone must finish as if it had never been.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from bets_protocol.cli.exit_codes import ExitCode
from bets_server.store import open_store
from tests.campaigns.faults.book import read_book
from tests.campaigns.faults.invariants import check_book, check_nothing_later, check_promises
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.kinds_client import SMALL_BATCHES
from tests.campaigns.faults.kinds_disk import ONE_BY_ONE
from tests.campaigns.faults.kinds_server import at_a_byte
from tests.campaigns.faults.slips import (
    AFTER_A_KILL,
    OF_A_PART,
    OF_THE_FOLDER,
    Scene,
    SceneSlip,
    by_the_second_name,
    link_turned,
    log_of_an_earlier_day,
    log_over_a_closed_book,
    moved,
    second_name,
)
from tests.campaigns.faults.stage import Stage, StoreFiles, files_of
from tests.e2e.processes import Program, wait_until

SCHEMES = ("sqlite", "csv")
"""Of the stores that a trial chooses from."""

NOTICED_WITHIN_S = 10.0
"""A server looks once a second; the rest is for a busy machine."""

READING = (["status"], ["uploads"], ["audit"])


def laid_out(stage: Stage) -> None:
    """Gives the store a folder of its own, in one that has nothing else: everything in there is compared."""
    stage.scheme = stage.random.choice(SCHEMES)
    stage.store = stage.folder / "world" / "data" / ("bets.db" if stage.scheme == "sqlite" else "bets.csv")
    stage.store.parent.mkdir(parents=True)
    elsewhere(stage).mkdir()


def elsewhere(stage: Stage) -> Path:
    """A second folder of the store's world."""
    return stage.folder / "world" / "elsewhere"


def contents(stage: Stage) -> dict[str, bytes]:
    """Every file and folder of the store's world."""
    found = (stage.folder / "world").rglob("*")
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in found}


def require_all_or_a_refusal(stage: Stage, bets: int | None, *, refused: bool | None = None) -> None:
    """What operators read: everything, or nothing with one line that says why; and no byte changes.

    Args:
        bets: how many there are; None: the book is gone.
        refused: whether it must be; None: it may be.
    """
    before = contents(stage)
    for command in (["export", "-"], stage.random.choice(READING)):
        program = stage.programs.start("bets-server", *command, "--store", stage.store_url)
        code = program.finished()
        assert code in (ExitCode.DONE, ExitCode.USAGE), f"{program.what} ended with {code}:\n{program.err}"
        assert refused is None or (code == ExitCode.USAGE) == refused, f"{program.what}: {code}:\n{program.err}"
        if code == ExitCode.USAGE:
            stage.require_one_line(program)
        elif command[0] == "export":
            found = len(program.out.splitlines())
            assert found == bets, f"I1: {program.what}: {found} bets and no word, of {bets}"
    assert contents(stage) == before, "an operator's command has changed a file"


def misplaced(folder: Path, seed: int) -> int:
    """A slip with the files under a server, at a random moment of an upload or while it is idle: the server ends, with
    exit code 8 and one line, before it acknowledges anything that nobody would find."""
    with Stage(folder, seed, agencies=2, bets=300).opened() as stage:
        laid_out(stage)
        store = stage.store
        parts = [(slip, part) for part in stage.store_files.parts for slip in OF_A_PART]
        slips = [*parts, *((slip, stage.store_files.book) for slip in OF_THE_FOLDER), (link_turned, store)]
        slip, part = slips[seed % len(slips)]
        files = stage.store_files
        if slip is link_turned:
            real = elsewhere(stage) / store.name
            store.symlink_to(real)
            open_store(f"{stage.scheme}:///{real}").close()
            part, files = store, files_of(stage.scheme, real)
        what = f"{getattr(slip, '__name__', slip)} {part.name}"
        stage.start()
        options = stage.random.choice([ONE_BY_ONE, SMALL_BATCHES])
        idle = stage.random.random() < 0.3
        clients = {agency: stage.send(agency, *options) for agency in stage.files if agency == 1 or not idle}
        if idle:
            clients[1].wait_for_line("consulta_ganadores | result: in_progress")
        sent: list[int] = []
        undo = contextlib.ExitStack()
        places: list[Path | None] = []

        def deed() -> None:
            places.append(undo.enter_context(slip(part)))
            sent.extend(talk.sent_by_client for talk in stage.witness.talks)

        if idle:
            deed()
        else:
            at_a_byte(stage, stage.random.randrange(30_000), deed)
        _require_the_end(stage, what)
        check_nothing_later(stage.witness.talks, sent, stage.files, what)
        where = places[0]
        found = files.book if slip is link_turned or (slip in OF_A_PART and part != files.book) else where
        bets = None
        if found is not None:  # whole by itself, wherever it lies
            book = read_book(found)
            check_book(book, stage.files)
            check_promises(book, stage.witness.talks, stage.files)
            bets = len(book.order)
        if slip in OF_A_PART:
            require_all_or_a_refusal(stage, bets)
        undo.close()
        if where is None and part != files.log:
            stage.check_outputs()
            return 1
        stage.check_scene()
        _kill_all(clients)
        stage.serve()
        stage.finish({}, *options)
    return 1


def _kill_all(clients: Mapping[int, Program]) -> None:
    """Rather than to wait for them: they have tried in vain for a while, and rest longer and longer."""
    for client in clients.values():
        client.kill()


def _require_the_end(stage: Stage, what: str) -> None:
    server = stage.server
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not server.running, "", NOTICED_WITHIN_S)
    assert not server.running, f"I1: {what}: the server goes on after {NOTICED_WITHIN_S:g} s"
    server.expect(ExitCode.STORE_FAILED)
    said = [line for line in server.lines if line.startswith("store | result: fail")]
    assert len(said) == 1, f"{what}: {len(said)} lines say why:\n{server.out}"
    assert not server.err, f"{what}: {server.err}"


def killed_and_misplaced(folder: Path, seed: int) -> int:
    """A server is killed in mid-upload, and then a slip happens to its files: a start is refused, nothing is touched,
    and once the slip is undone nothing is lost; what was no slip is served."""
    slip = AFTER_A_KILL[seed % len(AFTER_A_KILL)]
    with Stage(folder, seed, agencies=2, bets=300).opened() as stage:
        laid_out(stage)
        stage.start()
        clients = {agency: stage.send(agency, *ONE_BY_ONE) for agency in stage.files}
        _run_until(stage, stage.random.randrange(12_000))
        if slip is log_of_an_earlier_day or stage.random.random() < 0.5:
            stage.kill_server()
        else:
            stage.stop_server()
        scene = Scene(stage.store_files, folder / "early", folder / "serving")
        _copy_parts(scene.files, scene.early)
        stage.serve()
        _run_until(stage, stage.random.randrange(10_000))
        _copy_parts(scene.files, scene.serving)
        _run_until(stage, stage.random.randrange(10_000))
        book = stage.stop_server() if slip is log_over_a_closed_book else stage.kill_server()
        _kill_all(clients)
        _slip_and_finish(stage, scene, slip, len(book.order))
        stage.finish({}, *ONE_BY_ONE)
    return 1


def _slip_and_finish(stage: Stage, scene: Scene, slip: SceneSlip, bets: int) -> None:
    """What follows a slip; a server runs at its end."""
    world, before = stage.folder / "world", stage.folder / "before"
    shutil.copytree(world, before, ignore=lambda _folder, names: [each for each in names if each.endswith(".control")])
    stage.store, refused = slip(scene)
    stage.check_outputs()
    if not refused:
        require_all_or_a_refusal(stage, bets, refused=False)
        stage.serve()
        return
    after = contents(stage)
    stage.refused()
    assert contents(stage) == after, f"{slip.__name__}: a start that was refused has changed a file"
    # Operators' commands write nothing, so that to them a book with two names is as good as another.
    require_all_or_a_refusal(stage, bets, refused=None if slip in (second_name, by_the_second_name) else True)
    shutil.rmtree(world)
    before.rename(world)
    stage.store = scene.files.main
    stage.check_scene()
    stage.serve()


def _run_until(stage: Stage, more_bytes: int) -> None:
    at_a_byte(stage, stage.witness.sent_by_clients + more_bytes, lambda: None)


def _copy_parts(files: StoreFiles, target: Path) -> None:
    target.mkdir()
    for part in files.parts:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(part, target / part.name)


SAME, MOVED, ALL_MOVED, LINKED, BY_A_LINK, BY_A_FOLDER = "same", "moved", "all-moved", "linked", "link", "folder"
WAYS = (SAME, MOVED, ALL_MOVED, LINKED, BY_A_LINK, BY_A_FOLDER)
CONTROLS = ("there", "removed", "crowded")
MEETINGS = tuple(itertools.product(WAYS, CONTROLS, (True, False)))
STRIDE = 5
"""Consecutive seeds differ in everything, and come to every meeting."""


def second_server(folder: Path, seed: int) -> int:
    """A second server is started for the store of one that runs, or that is stopped (SIGSTOP) and cannot look; the
    files were moved or linked, its control socket is there, or was removed, or is crowded: the second does not begin.
    """
    way, control, stopped = MEETINGS[seed * STRIDE % len(MEETINGS)]
    with Stage(folder, seed, agencies=2, bets=300).opened() as stage, contextlib.ExitStack() as crowd:
        laid_out(stage)
        store, first = stage.store, stage.start()
        clients = {agency: stage.send(agency, *SMALL_BATCHES) for agency in stage.files}
        at_a_byte(stage, stage.random.randrange(25_000), lambda: first.send_signal(signal.SIGSTOP) if stopped else None)
        path = store.with_name(store.name + ".control")
        if control == "removed":
            path.unlink()
        elif control == "crowded":
            _crowd(path, crowd)
        undo = contextlib.ExitStack()
        place = _arranged(stage, way, undo)
        # One that may look can have ended by now; and of one whose files are all gone nothing is left to be known by.
        may_begin = way == ALL_MOVED and control == "removed" if stopped else way in (MOVED, ALL_MOVED)
        second = stage.refused_or_begun()
        assert may_begin or not second.running, f"I1: {way}, control {control}: a second server begins:\n{second.out}"
        if second.running:
            first.send_signal(signal.SIGCONT)
            _require_the_end(stage, way)
            check_promises(read_book(place), stage.witness.talks, stage.files)
            second.stop()
        stage.store = store
        undo.close()
        first.send_signal(signal.SIGCONT)
        if way in (MOVED, ALL_MOVED, LINKED):  # it ends by itself, unless all was back when it looked
            first.send_signal(signal.SIGTERM)
            code = first.finished()
            assert code in (ExitCode.DONE, ExitCode.STORE_FAILED), f"{way}: exit code {code}:\n{first.out}"
            stage.check_scene()
            crowd.close()
            stage.serve()
        stage.finish(clients, *SMALL_BATCHES)
    return 1


def _arranged(stage: Stage, way: str, undo: contextlib.ExitStack) -> Path:
    """Has the files, and the URL for the second server, be as they should; gives where the first one's book lies."""
    store, book = stage.store, stage.store_files.book
    if way == MOVED:
        aside = undo.enter_context(moved(store))
        return aside if store == book else book
    if way == ALL_MOVED:
        target = elsewhere(stage)
        for part in stage.store_files.parts:
            part.rename(target / part.name)
        for part in stage.store_files.parts:
            undo.callback((target / part.name).replace, part)
        return target / book.name
    if way in (LINKED, BY_A_LINK):
        stage.store = elsewhere(stage) / store.name
        undo.callback(stage.store.unlink)
        if way == LINKED:
            os.link(store, stage.store)
        else:
            stage.store.symlink_to(store)
    elif way == BY_A_FOLDER:
        link = store.parent.with_name("link")
        link.symlink_to(store.parent)
        stage.store = link / store.name
    return book


def _crowd(control: Path, undo: contextlib.ExitStack) -> None:
    """Connects to a control socket until nobody takes the connections any more, if its server is stopped."""
    for _ in range(1000):
        operator = undo.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
        operator.setblocking(False)
        try:
            operator.connect(str(control))
        except (BlockingIOError, FileNotFoundError, ConnectionRefusedError):
            return


KINDS = (
    Kind(name="misplaced", row="21", trials=21, run=misplaced),
    Kind(name="killed-and-misplaced", row="21", trials=len(AFTER_A_KILL), run=killed_and_misplaced),
    Kind(name="second-server", row="21", trials=12, run=second_server),
)
