"""Runs the library's client for a command: its settings go in, its events become log lines and progress."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from bets_client.errors import WrongPeer, program_error, with_text
from bets_client.run_context import RunContext
from bets_protocol import BetsError, RemoteProtocolError
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ProgramError
from bets_protocol.cli.signals import Stopped, interruptible
from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.batch_source import BetSequence, new_upload
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.driver import BlockingDriver
from bets_protocol.client.events import (
    BatchRefused,
    BetsStored,
    Connected,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    DrawAwaited,
    Event,
    Resending,
    UploadOpened,
    WinnersAsked,
)
from bets_protocol.client.exactly_once import ExactlyOnce
from bets_protocol.client.link import Link
from bets_protocol.client.numbered_batch import NumberedBatch, numbered_batches
from bets_protocol.client.options import ClientOptions, Words, older_server
from bets_protocol.client.winners import WinnersCollector, named
from bets_protocol.connection.upload import Upload

_WORDS = Words(retry_for="--retry-for", revision_8="--revision 8", ask_again="bets-client winners asks again")


class Running:
    """One run of a command, with the driver of its conversations.

    Attributes:
        options: for the library's client.
        driver: runs its conversations; a stop of the program comes up where they wait.
    """

    def __init__(self, context: RunContext) -> None:
        settings = context.settings
        self._context = context
        self._waits = False
        self.options = ClientOptions(
            url=settings.server,
            revision=settings.revision,
            window=settings.window,
            retry_for_s=settings.retry_for_s,
            idle_timeout_s=settings.idle_timeout_s,
            transports=context.transports,
            on_event=self._heard,
            words=_WORDS,
        )
        self.driver = BlockingDriver(self.options, guard=interruptible, tick=context.progress.tick)

    def upload(self, source: CsvFile | BetSequence, total: int) -> Upload:
        """The upload of a source, as `new_upload`."""
        settings = self._context.settings
        return new_upload(
            source,
            total,
            draw=settings.draw,
            label=settings.label,
            batch_max=settings.batch_max,
            window=settings.window,
        )

    def batches(self, sources: Iterable[CsvFile | BetSequence]) -> Iterator[NumberedBatch]:
        """The batches of several sources, for the revisions 5 to 8."""
        settings = self._context.settings
        return numbered_batches(sources, revision=settings.revision, batch_max=settings.batch_max)

    def deliver(self, delivery: ExactlyOnce | AtLeastOnce) -> None:
        """Send all bets of `delivery` until they are acknowledged.

        Raises:
            ProgramError: as `program_error`, with the state of the upload.
            Stopped: the program was asked to stop; the user has been told the state.
        """
        settings = self._context.settings
        try:
            self.driver.run(delivery.run())
        except Stopped:
            self._context.progress.finish()
            if not settings.quiet:
                advice = "; the same command goes on from there" if settings.exactly_once else ""
                say_error("bets-client", f"stopped: {delivery.state()}{advice}")
            raise
        except BetsError as error:
            if isinstance(delivery, ExactlyOnce) and not delivery.upload.answered_once:
                otherwise = f"the server does not seem to know revision 9: {error}; {older_server(self.options)}"
            else:
                otherwise = self._breach(error)
            raise program_error(error, settings.server, otherwise) from error

    def ask(self, collector: WinnersCollector, agency: int, link: Link | None, upload: Upload | None = None) -> None:
        """Ask for the winners of an agency, as `WinnersCollector.ask`.

        Raises:
            ProgramError: as `program_error`; logged.
        """
        try:
            self.driver.run(collector.ask(agency, link, upload))
        except BetsError as error:
            raise self._unanswered(collector, error) from error

    def collect(self, collector: WinnersCollector) -> None:
        """Wait for the winners of all agencies that asked.

        Raises:
            ProgramError: as `program_error`; logged.
        """
        self._waits = False
        try:
            self.driver.run(collector.collect())
        except BetsError as error:
            raise self._unanswered(collector, error) from error
        self._context.progress.finish()

    def close(self, link: Link | None) -> None:
        """Close a link, if there is one, and log that."""
        if link is not None:
            self._context.opened.close(link)

    def _unanswered(self, collector: WinnersCollector, error: BetsError) -> BetsError:
        """The error for a question that failed; logged. The log has the shorter text."""
        server = self._context.settings.server
        if collector.failed is None:
            found = program_error(error, server, f"the server sent back something else: {error}")
            self._context.log.fail("consulta_ganadores", error=found)
            return found
        asked = f"agency {collector.failed} asked for its winners"
        found = program_error(error, server, self._breach(f"{asked}: {error}"))
        if isinstance(error, RemoteProtocolError) and isinstance(found, WrongPeer) and str(found).startswith(server):
            self._context.log.fail("consulta_ganadores", error=error)
            return found
        self._context.log.fail("consulta_ganadores", error=found)
        return with_text(found, f"{server}: {asked}: {found}") if isinstance(found, ProgramError) else found

    def _breach(self, what: object) -> str:
        revision = self._context.settings.revision
        return f"the server breaks the protocol, or speaks another revision than {revision}: {what}"

    def _heard(self, event: Event) -> None:
        log, opened = self._context.log, self._context.opened
        match event:
            case ConnectFailed(agency=agency, error=error):
                log.fail("connect", level=logging.WARNING, client_id=agency or 0, error=error)
            case Connected(agency=agency, connection=connection):
                opened.add("connection", connection, client_id=agency or 0)
                log.success("connect", level=logging.DEBUG, client_id=agency or 0)
            case Disconnected(connection=connection):
                opened.close(connection)
            case ConnectionLost():
                opened.close(event.connection)
                log.fail(
                    "connection",
                    level=logging.WARNING,
                    client_id=event.agency or 0,
                    unanswered=event.unanswered,
                    error=event.error,
                )
            case UploadOpened():
                self._opened(event)
            case BetsStored(agency=agency, count=count):
                self._context.progress.acknowledged(count)
                log.success("batch_enviado", level=logging.DEBUG, client_id=agency, cantidad=count)
            case BatchRefused(agency=agency, count=count, rows=rows):
                log.fail("batch_enviado", client_id=agency, cantidad=count, rows=rows, error="the server refused it")
            case Resending(agency=agency, count=count):
                level = logging.WARNING if count else logging.DEBUG
                log.progress("resend", level=level, client_id=agency, cantidad=count)
            case WinnersAsked(agency=agency):
                log.progress("consulta_ganadores", level=logging.DEBUG, client_id=agency)
            case DrawAwaited(agencies=agencies, connected=connected):
                self._waiting(agencies, connected=connected)

    def _opened(self, event: UploadOpened) -> None:
        self._context.progress.acknowledged(event.stored - event.before)
        if event.stored < event.before:
            self._context.log.fail(
                "open_upload",
                level=logging.WARNING,
                client_id=event.agency,
                stored=event.stored,
                error=f"the server had {event.before} bets of this upload before",
            )
        else:
            self._context.log.success(
                "open_upload",
                level=logging.DEBUG,
                client_id=event.agency,
                upload=event.upload_id.hex(),
                stored=event.stored,
                total=event.total,
            )

    def _waiting(self, agencies: tuple[int, ...], *, connected: bool) -> None:
        """Show who waits: without a connection no agency waits for the draw."""
        title = f"{named(agencies)} {'wait' if len(agencies) > 1 else 'waits'} for the draw"
        if not connected:
            title = f"{named(agencies)}: no connection to {self._context.settings.server}, trying again"
        if self._waits:
            self._context.progress.retitle(title)
        else:
            self._waits = True
            self._context.progress.waiting(title)
