"""Uploads and questions for winners, driven in this process without the command line."""

from __future__ import annotations

from pathlib import Path

from bets_client.config import load_settings
from bets_client.input.check import require_good
from bets_client.run_context import working
from bets_client.upload.running import Running
from bets_protocol import BetsError
from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.exactly_once import ExactlyOnce
from bets_protocol.client.winners import WinnersCollector
from tests.client.scripted_server import Peer, ScriptedServer
from tests.client.wire import BETS

DEFAULTS = {"batch_max": "2", "retry_for": "20", "log_level": "DEBUG"}


def send_at_least_once(server: ScriptedServer | str, file: Path, bets: int = 20, **options: str) -> AtLeastOnce:
    """Run an upload of revision 8 to its end, good or bad; what it raises comes out with the upload as `.upload`."""
    url = server if isinstance(server, str) else server.url
    with working(load_settings(DEFAULTS | {"server": url, "revision": "8"} | options, {})) as context:
        source = CsvFile(str(file), 1)
        context.opened.add("file", source)
        running = Running(context)
        upload = AtLeastOnce(running.options, 1, running.batches([source]), bets)
        try:
            running.deliver(upload)
        except BaseException as error:
            error.upload = upload  # type: ignore[attr-defined]
            raise
        link = upload.take_link()
        if link is not None:
            context.opened.close(link)
        assert upload.take_link() is None
    return upload


class Outcome:
    """How an upload ended."""

    def __init__(self, upload: ExactlyOnce, error: BetsError | None) -> None:
        self.machine = upload.upload
        self.error = error


def send_exactly_once(server: ScriptedServer | str, file: Path, **options: str) -> Outcome:
    """Run an upload of revision 9 to its end, good or bad."""
    url = server if isinstance(server, str) else server.url
    with working(load_settings(DEFAULTS | {"server": url} | options, {})) as context:
        source = CsvFile(str(file), 1)
        context.opened.add("file", source)
        running = Running(context)
        machine = running.upload(source, require_good(source))
        upload = ExactlyOnce(running.options, machine, str(file))
        try:
            running.deliver(upload)
        except BetsError as error:
            return Outcome(upload, error)
        link = upload.take_link()
        assert link is not None
        context.opened.close(link)
    return Outcome(upload, None)


def failed(outcome: Outcome, kind: type[BetsError]) -> list[str]:
    """The lines of the error."""
    assert type(outcome.error) is kind, outcome.error
    return str(outcome.error).split("\n")


def ask(url: str, *agencies: int, **options: str) -> dict[int, tuple[str, ...]]:
    """Wait for the winners of some agencies on revision 8."""
    with working(
        load_settings({"server": url, "retry_for": "20", "log_level": "DEBUG", "revision": "8"} | options, {})
    ) as context:
        running = Running(context)
        collector = WinnersCollector(running.options)
        for agency in agencies:
            running.ask(collector, agency, None)
        running.collect(collector)
        return collector.found


class Stored:
    """What a scripted server of revision 9 has of an upload of `BETS`."""

    def __init__(self, bets: int = 0) -> None:
        self.bets = BETS[:bets]

    def open(self, peer: Peer) -> None:
        assert peer.open_upload()[:3] == (1, 1, 20)
        peer.stored(self.bets)

    def take(self, peer: Peer, batches: int, answers: int | None = None) -> None:
        """Store so many batches, answer the first of them."""
        for number in range(batches):
            self.bets = self.bets + peer.batch()
            if answers is None or number < answers:
                peer.stored(self.bets)

    def rest(self, peer: Peer) -> None:
        """Serve a connection to its end."""
        self.open(peer)
        self.take(peer, (20 - len(self.bets) + 1) // 2)
        assert peer.at_end()
