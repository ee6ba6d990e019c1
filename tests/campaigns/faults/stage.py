"""One trial's world: a folder, files of bets, a server that can die, a network that can fail, clients; and its end.

Everything that is decided comes from `stage.random`, so one seed replays one trial's decisions; what the operating
system decides (who runs first) it does not.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.testing.chaos import ChaosProxy, Plan
from tests.campaigns.faults.book import Book, read_book
from tests.campaigns.faults.invariants import check_book, check_finished, check_promises
from tests.campaigns.faults.model import AgencyFile, number_of, write_file
from tests.campaigns.faults.strace import WrappedServer
from tests.campaigns.faults.witness import Witness
from tests.e2e.processes import Program, Programs, ServerProgram, wait_until

DONE_WITHIN_S = 30.0
"""I8: once the faults have stopped."""

RUN_IT_AGAIN = (ExitCode.UNREACHABLE, ExitCode.PROTOCOL, -signal.SIGKILL)
"""How a client may end under faults, to be run again: it gave up, or took a silent server for an old one, or died."""


_END = "the end of {0.what} (I8)"
LISTENS = "action: accept_connections | result: in_progress"


@attrs.frozen
class StoreFiles:
    """The files of a store.

    Attributes:
        main: the one that the store's URL names.
        book: the one that SQLite opens.
        log: its write-ahead log, while a server runs and after one was killed.
    """

    main: Path
    book: Path
    log: Path

    @property
    def parts(self) -> tuple[Path, ...]:
        """All of them, once each."""
        return tuple(dict.fromkeys((self.main, self.book, self.log)))


def files_of(scheme: str, store: Path) -> StoreFiles:
    """What lies in the folder of a store; its book lies beside the file itself, and not beside a link to it."""
    real = Path(os.path.realpath(store))
    book = real if scheme == "sqlite" else real.with_name(real.name + ".ledger")
    return StoreFiles(store, book, book.with_name(book.name + "-wal"))


class Stage:
    """A world; `opened` makes one.

    Args:
        folder: empty; everything happens in it.
        seed: of every decision.
        agencies: how many the draw waits for; each has a file of `bets` rows.

    Attributes:
        files: by agency.
        number: the winning number; somebody has bet on it.
        scheme, store: of the store's URL; the path, and what kind of store it is.
        plans: what the network does to the next connections; the others it leaves alone.
        proxy: what clients connect to.
    """

    def __init__(self, folder: Path, seed: int, *, agencies: int = 1, bets: int = 1500) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.files: dict[int, AgencyFile] = {
            agency: write_file(folder, agency, bets=bets, seed=seed % 2**32) for agency in range(1, agencies + 1)
        }
        self.number = number_of(self.random.choice(self.random.choice(list(self.files.values())).bets))
        self.scheme = "sqlite"
        self.store = folder / "bets.db"
        self.witness = Witness()
        self.programs = Programs(folder)
        self.plans: deque[Plan] = deque()
        self._server: ServerProgram | None = None
        self._proxy: ChaosProxy | None = None
        self._clients: list[Program] = []
        self._url = "tcp://127.0.0.1:0"
        self._server_ends: dict[ServerProgram, int] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Stage]:
        """Ends everything at the end, and says what was done to the network if the trial fails."""
        try:
            yield self
        except Exception as error:
            faults = "; ".join(map(str, self._proxy.faults)) if self._proxy is not None else ""
            error.add_note(f"faults of the network: {faults or 'none'}")
            error.add_note(f"the book then: {self._verdict_on_the_scene()}")
            raise
        finally:
            for program in [*self._clients, *self._server_ends]:
                program.kill()
            self.programs.close()
            if self._proxy is not None:
                self._proxy.close()

    def _verdict_on_the_scene(self) -> str:
        """What the book looks like when a trial has failed for another reason."""
        if self._server is not None:
            self._server.kill()
        try:
            self.check_scene()
        except (AssertionError, OSError, sqlite3.Error) as error:
            return str(error)
        return "in order"

    @property
    def anybody_runs(self) -> bool:
        """Whether a client has not ended yet."""
        return any(client.running for client in self._clients)

    @property
    def options(self) -> tuple[str, ...]:
        """Of `bets-server serve`."""
        return (
            "--agencies",
            str(len(self.files)),
            "--winning-number",
            str(self.number),
            "--store",
            self.store_url,
        )

    @property
    def store_url(self) -> str:
        """What `--store` says."""
        return f"{self.scheme}:///{self.store}"

    @property
    def store_files(self) -> StoreFiles:
        """Of the store, where its URL leads now."""
        return files_of(self.scheme, self.store)

    @property
    def server(self) -> ServerProgram:
        """The server that was started last."""
        assert self._server is not None
        return self._server

    @property
    def proxy(self) -> ChaosProxy:
        """What clients connect to."""
        assert self._proxy is not None
        return self._proxy

    def serve(self, *options: str, **environment: str) -> ServerProgram:
        """A server, at the place where the one before was."""
        server = self.programs.server(*self.options, *options, listen=self._url, descriptors=None, **environment)
        self._url = server.url
        self._server = server
        self._server_ends[server] = ExitCode.DONE
        return server

    def serve_behind(self, *before: str) -> ServerProgram:
        """A server behind a command that becomes it; it listens, or has ended before it could."""
        arguments = ("serve", "--listen", self._url, "--log-level", "DEBUG", *self.options)
        server = WrappedServer(self.folder, before, arguments, number=100 + len(self._server_ends))
        self._server = server
        self._server_ends[server] = ExitCode.DONE
        wait_until(lambda: not server.running or LISTENS in server.out, f"{server.what} to listen")
        if server.running:
            server.wait_until_it_listens()
            self._url = server.url
        return server

    def refused(self) -> Program:
        """A start of one more server, which must be refused: with exit code 2 and one line that names a file."""
        program = self.refused_or_begun()
        assert not program.running, f"I1: a server begins at {self.store}:\n{program.out}"
        return program

    def refused_or_begun(self) -> Program:
        """Likewise, where it may also begin, and run when this returns."""
        program = self.programs.start("bets-server", "serve", "--listen", "tcp://127.0.0.1:0", *self.options)
        wait_until(lambda: not program.running or LISTENS in program.out, f"the end of {program.what}")
        if not program.running:
            program.expect(ExitCode.USAGE)
            self.require_one_line(program)
        return program

    def require_one_line(self, program: Program) -> None:
        """What a refusal says: one line, with the name of a file of the store."""
        lines = program.err.splitlines()
        assert len(lines) == 1, f"{program.what} says {len(lines)} lines:\n{program.err}"
        assert self.store.name in lines[0], f"{program.what} names no file: {lines[0]}"

    def start(self, *options: str, plan: Callable[[int], Plan] | None = None) -> ServerProgram:
        """A server and the network in front of it; see `connect`."""
        server = self.serve(*options)
        self.connect(plan)
        return server

    def connect(self, plan: Callable[[int], Plan] | None = None) -> None:
        """The network in front of the server.

        Args:
            plan: of each connection; None: `plans` gives them.
        """
        self._proxy = ChaosProxy(int(self.server.port), plan=plan or self._next_plan, watch=self.witness.saw)

    def _next_plan(self, _number: int) -> Plan:
        return self.plans.popleft() if self.plans else Plan()

    def kill_server(self) -> Book:
        """SIGKILL; gives the book as the server left it, in which every promise is kept already."""
        self.server.kill()
        self._server_ends[self.server] = -signal.SIGKILL
        return self.check_scene()

    def server_ended(self, code: int) -> Book:
        """The server ends by itself with `code`; gives the book as it left it."""
        self.server.expect(code)
        self._server_ends[self.server] = code
        return self.check_scene()

    def stop_server(self) -> Book:
        """SIGTERM; gives the book."""
        self.server.stop()
        return self.check_scene()

    def check_scene(self) -> Book:
        """Reads the book, while no server runs, and checks what must hold at any moment."""
        talks = self.witness.talks
        book = read_book(self.store_files.book)
        check_book(book, self.files)
        check_promises(book, talks, self.files)
        return book

    def send(self, agency: int, *options: str, **environment: str) -> Program:
        """A client that uploads an agency's file and waits for its winners."""
        arguments = ("send", self.files[agency].path.name, "--server", self.proxy.url, "--log-level", "DEBUG")
        client = self.programs.client(*arguments, *options, **environment)
        self._clients.append(client)
        return client

    def finish(self, clients: dict[int, Program], *options: str) -> Book:
        """The faults stop: everyone must be done soon, run again if need be; then every invariant is checked.

        Args:
            clients: the agencies' clients that run, or ran; an agency without one gets one now.
        """
        self.proxy.stop_faults()
        until = time.monotonic() + DONE_WITHIN_S
        running = {agency: clients.get(agency) or self.send(agency, *options) for agency in self.files}
        for agency in self.files:
            while not self._is_done(agency, running[agency], until):
                running[agency] = self.send(agency, *options)
        return self.check_end()

    def _is_done(self, agency: int, client: Program, until: float) -> bool:
        """Waits for a client's end; says whether it has the winners, or is to be run again."""
        wait_until(lambda: not (client.running and self.server.running), _END.format(client), until - time.monotonic())
        assert self.server.running, f"I9: the server ended by itself:\n{self.server.out[-2000:]}{self.server.err}"
        code = client.finished()
        if code in RUN_IT_AGAIN:
            return False
        assert code == ExitCode.DONE, f"I9: {client.what} ended with {code}:\n{client.err}"
        expected = self.files[agency].winners(self.number)
        assert client.results == expected, f"I5: {client.what} printed {client.results}, not {expected}"
        return True

    def check_end(self) -> Book:
        """Stops the server and checks the finished book; a second look, after another server, must see the same."""
        book = self.stop_server()
        check_finished(book, self.witness.talks, self.files, self.number)
        self.check_outputs()
        if self._proxy is not None and self.random.random() < 0.25:
            self._check_that_all_is_final(book)
        return book

    def _check_that_all_is_final(self, book: Book) -> None:
        """I6: the same command again says the same and changes nothing."""
        self.serve()
        agency = self.random.choice(list(self.files))
        again = self.send(agency).expect()
        assert again.results == self.files[agency].winners(self.number), "I5: another answer to the same question"
        assert self.stop_server().final() == book.final(), "I6: the book changed after the draw"

    def check_outputs(self) -> None:
        """I9: no traceback in anything that was printed."""
        for path in self.folder.glob("*.[oe][ur][tr]"):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "Traceback" not in text, f"I9: a traceback in {path.name}:\n{text[-3000:]}"
