"""The answer of a command on standard output, besides its log: text for people, one JSON object for programs.

The JSON object is always written once, also after an error or a stop; `result` says which.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs

from bets_client.run_context import RunContext
from bets_protocol import BetsError
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ExitCode, exit_code_of
from bets_protocol.cli.signals import Stopped, work_is_done
from bets_protocol.cli.stdio import OutputError, ReaderLeft, write_result
from bets_protocol.client.retry import now


@attrs.define(kw_only=True)
class AgencyReport:
    """The result for one agency.

    Attributes:
        files: as they were named; None if the command sends none.
        bets: how many there were to send.
        stored: how many of them the server acknowledged.
        sent_twice: how many were sent again after a lost connection, and may be stored twice.
        already_stored: how many were stored before this run; None if the revision does not tell.
        winners: their documents; None until they are known.
    """

    agency: int
    files: list[str] | None = None
    bets: int = 0
    stored: int = 0
    sent_twice: int = 0
    already_stored: int | None = None
    winners: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the JSON object."""
        sent: dict[str, Any] = {
            "files": self.files,
            "bets": self.bets,
            "stored": self.stored,
            "sent_twice": self.sent_twice,
        }
        if self.already_stored is not None:
            sent |= {"already_stored": self.already_stored, "sent_now": self.stored - self.already_stored}
        return {
            "agency": self.agency,
            **(sent if self.files is not None else {}),
            "winners": None if self.winners is None else list(self.winners),
        }


class Report:
    """The answer of one command.

    Attributes:
        agencies: in the order of the requests; may be empty.
        extra: more keys for the JSON object.
    """

    def __init__(self, context: RunContext, command: str) -> None:
        self.agencies: list[AgencyReport] = []
        self.extra: dict[str, Any] = {}
        self._context = context
        self._command = command
        self._started = now()

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Write the answer when the block ends, however it ends.

        Raises:
            OutputError: it could not be written, and nothing else has failed.
        """
        try:
            yield
        except BetsError as error:
            self._write_failure("fail", exit_code_of(error), str(error))
            raise
        except Stopped as stop:
            self._write_failure("stopped", stop.exit_code)
            raise
        if self._context.settings.format == "json":
            self._write_json("success", ExitCode.DONE)
        else:
            documents = [document for agency in self.agencies for document in agency.winners or ()]
            # For `winners`, and with `-q`, the documents are the result, so an output that nobody reads is an error.
            # Otherwise the log says what was done: the bets are stored.
            needed = self._command == "winners" or self._context.settings.quiet
            write_result("".join(f"{document}\n" for document in documents), confirms=not needed)
        work_is_done()

    def log_winners(self) -> None:
        """Log a line for each agency's winners. All of them must be known."""
        for agency in self.agencies:
            whose = {"client_id": agency.agency} if len(self.agencies) > 1 else {}
            self._context.log.success("consulta_ganadores", cant_ganadores=len(agency.winners or ()), **whose)

    def _write_failure(self, result: str, code: ExitCode, error: str | None = None) -> None:
        """Write an error. If it cannot be written, the exit code stays that of the error."""
        try:
            self._write_json(result, code, error)
        except ReaderLeft:
            pass
        except OutputError as failure:
            say_error("bets-client", str(failure))

    def _write_json(self, result: str, code: ExitCode, error: str | None = None) -> None:
        if self._context.settings.format != "json":
            return
        answer = {
            "command": self._command,
            "result": result,
            "exit_code": int(code),
            **({} if error is None else {"error": error}),
            "server": self._context.settings.server,
            "seconds": round(now() - self._started, 3),
            **self.extra,
            **({"agencies": [agency.as_json() for agency in self.agencies]} if self.agencies else {}),
        }
        write_result(json.dumps(answer, ensure_ascii=False) + "\n")
