"""What an operator may ask and what is answered, by a running server or by a store that no server has open.

A command goes to an `OperatorBackend`. Its answer is a list of rows (plain data that JSON can carry), made a piece at a
time, so that a book of any size is exported while the server goes on.

Nothing in here knows a socket or how rows are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any, Final, TypedDict

import attrs

from bets_protocol import Bet, ConfigError, StorageError, limits
from bets_protocol.cli.exit_codes import ExitCode, ProgramError
from bets_server.store import BetStore, NotVoidable, SealOutcome, StoreFull, UploadState

MAX_REASON_CHARACTERS: Final = 500
"""For the reason of a change, which goes into the audit and on one line of the log."""

_ROWS_PER_PIECE: Final = 256
"""Bounds a piece to 300 KB: a bet takes at most 1.1 KB, with a quotation mark for each letter of its names."""

Row = Any
"""An object with the columns of its command; for `export` the plain list of a bet's fields."""


class Refused(ProgramError):
    """The store's state does not allow the command; nothing was changed."""

    exit_code = ExitCode.REFUSED


class NotDrawn(ProgramError):
    """Winners were asked for before the draw."""

    exit_code = ExitCode.NOT_DRAWN


class NeedsServer(ProgramError):
    """A command that only a running server can carry out."""

    exit_code = ExitCode.UNREACHABLE


class AgencySeen(TypedDict):
    """What a running server has seen of one agency."""

    connections: int  # open now
    silent_s: float | None  # seconds since its last message was answered, or None if no message was


class LiveStatus(TypedDict):
    """What only a running server knows."""

    agencies: int  # the draw waits for the agencies 1 to this number
    connections: int  # open now
    unknown_connections: int  # those that belong to no known agency
    seen: dict[int, AgencySeen]  # those that are connected, or were answered since the server was started


class OperatorBackend:
    """Carries out operators' commands, here on a store that no server has open; `LiveBackend` is a running server's.

    Attributes:
        store: only for calls that read.

    Thread: any; commands come one at a time, each from a thread of the control server.
    """

    def __init__(self, store: BetStore) -> None:
        self.store = store

    def status(self) -> LiveStatus | None:
        """What only a running server knows, or None without one."""
        return None

    def close_without(self, agency: int, reason: str) -> SealOutcome:  # noqa: ARG002 - a running server needs them
        """Seal an agency by force, and draw if it was the last one missing; agencies that wait are told.

        Only a running server can: it knows how many agencies take part, and has the others waiting.

        Raises:
            NeedsServer: no server runs.
            StoreFull: nothing was changed.
            StorageError: what is on disk is unknown.
        """
        raise NeedsServer("close: needs a server that runs")

    def failed(self, error: StorageError) -> None:
        """End the server, if one runs, since what is on disk is unknown; called at most once for each command."""


def answer(backend: OperatorBackend, command: str, arguments: Mapping[str, Any]) -> Iterator[list[Row]]:
    """Carry out a command and yield its rows in pieces; nothing happens before the first piece is asked for.

    Args:
        command: a key of `_COMMANDS`.
        arguments: those of the command; and `draw`, which must be the draw of the store if it is given.

    Raises:
        ConfigError: there is no such command, or an argument is unknown or cannot be used.
        Refused: the store's state does not allow it; nothing was changed.
        NotDrawn: winners were asked for before the draw.
        NeedsServer: the command needs a running server.
        StorageError: the store failed.
    """
    if command not in _COMMANDS:
        raise ConfigError(f"no command {command[:50]!r}; expected one of {', '.join(_COMMANDS)}")
    run, parameters = _COMMANDS[command]
    unknown = sorted(set(arguments) - set(parameters) - {"draw"})
    if unknown:
        raise ConfigError(f"{command}: {unknown[0][:50]!r}: no such argument")
    values = {name: check(command, name, arguments.get(name)) for name, check in parameters.items()}
    try:
        draw = _optional(_whole_number(0, limits.MAX_DRAW_ID))(command, "draw", arguments.get("draw"))
        if draw is not None and draw != backend.store.state().draw:
            raise ConfigError(f"--draw {draw}: the server has draw {backend.store.state().draw} open")
        rows = iter(run(backend, **values))
        while piece := list(islice(rows, _ROWS_PER_PIECE)):
            yield piece
    except NotVoidable as error:
        raise Refused(str(error)) from error
    except StoreFull as error:
        raise Refused(f"nothing was changed: {error}") from error


# -- the commands


def _upload_row(upload: UploadState) -> Row:
    return {
        "number": upload.number,
        "agency": upload.agency,
        "upload_id": upload.upload_id.hex() if upload.upload_id is not None else None,
        "total": upload.total,
        "stored": upload.stored,
        "crc32": f"{upload.crc32:08x}",
        "epoch": upload.epoch,
        "voided": upload.voided,
        "finished": upload.finished,
    }


def _status(backend: OperatorBackend) -> Iterator[Row]:
    live = backend.status()
    state = backend.store.state()
    uploads: dict[int, list[UploadState]] = {}
    for upload in backend.store.uploads():
        if not upload.voided:
            uploads.setdefault(upload.agency, []).append(upload)
    expected = set(range(1, live["agencies"] + 1)) if live is not None else set()
    seen = live["seen"] if live is not None else {}
    yield {
        "server": live is not None,
        "draw": state.draw,
        "drawn": state.drawn,
        "winning_number": state.number,
        "bets": state.bets if state.drawn else sum(state.bets_by_agency.values()),
        "digest": state.digest or None,
        "agencies": len(expected) if live is not None else None,
        "missing": sorted(expected - state.sealed) if live is not None and not state.drawn else [],
        "connections": live["connections"] if live is not None else None,
        "unknown_connections": live["unknown_connections"] if live is not None else None,
        "by_agency": [
            {
                "agency": agency,
                **_intake(uploads.get(agency, [])),
                "bets": state.bets_by_agency.get(agency, 0),
                "sealed": agency in state.sealed,
                "connections": None if live is None else seen[agency]["connections"] if agency in seen else 0,
                "silent_s": seen[agency]["silent_s"] if agency in seen else None,
            }
            for agency in sorted({*expected, *state.sealed, *state.bets_by_agency, *uploads, *seen})
        ],
    }


def _intake(uploads: list[UploadState]) -> dict[str, Any]:
    """How an agency sends, and whether it has finished; an anonymous upload has no end that could be known."""
    identified = [upload for upload in uploads if upload.upload_id is not None]
    return {
        "mode": "upload" if identified else "anonymous" if uploads else None,
        "uploads": len(identified),
        "finished": all(upload.finished for upload in identified) if identified else None,
    }


def _winners(backend: OperatorBackend, agency: int | None) -> Iterator[Row]:
    state = backend.store.state()
    if not state.drawn:
        raise NotDrawn("the draw has not taken place")
    for number in sorted(state.bets_by_agency) if agency is None else [agency]:
        for document in backend.store.winners(number) or ():
            yield {"agency": number, "document": document}


_fields_of = attrgetter(*(field.name for field in attrs.fields(Bet)))


def _void(backend: OperatorBackend, number: int, reason: str) -> Iterator[Row]:
    yield _upload_row(backend.store.void(number, reason=reason))


def _close(backend: OperatorBackend, without: int, reason: str | None) -> Iterator[Row]:
    live = backend.status()
    if live is not None and without > live["agencies"]:
        raise Refused(f"close: agency {without}: the draw waits for agencies 1 to {live['agencies']}")
    outcome = backend.close_without(without, reason or "")
    yield {
        "agency": without,
        "newly_sealed": outcome.newly_sealed,
        "drawn": outcome.drawn,
        "drawn_now": outcome.drawn_now,
    }


# -- their arguments

_Check = Callable[[str, str, Any], Any]


def _whole_number(low: int, high: int) -> _Check:
    def check(command: str, name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"{command}: {name}: expected a whole number from {low} to {high}")
        return value

    return check


def _optional(check: _Check) -> _Check:
    return lambda command, name, value: None if value is None else check(command, name, value)


def _reason(command: str, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_REASON_CHARACTERS:
        raise ConfigError(f"{command}: {name}: expected 1 to {MAX_REASON_CHARACTERS} printable characters")
    return value.strip()


_AGENCY = _whole_number(1, limits.MAX_AGENCY)

_COMMANDS: Mapping[str, tuple[Callable[..., Iterable[Row]], Mapping[str, _Check]]] = {
    "status": (_status, {}),
    "uploads": (lambda backend: map(_upload_row, backend.store.uploads()), {}),
    "audit": (lambda backend: map(attrs.asdict, backend.store.audit()), {}),
    "winners": (_winners, {"agency": _optional(_AGENCY)}),
    "export": (lambda backend, agency: map(_fields_of, backend.store.bets(agency)), {"agency": _optional(_AGENCY)}),
    "void": (_void, {"number": _whole_number(1, 2**63 - 1), "reason": _reason}),
    "close": (_close, {"without": _AGENCY, "reason": _optional(_reason)}),
}

CHANGES: Final = frozenset({"void", "close"})
"""The commands that change something."""
