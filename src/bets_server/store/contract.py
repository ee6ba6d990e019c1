"""The contract of a store, and the table that finds one by the scheme of its URL.

A store keeps uploads with their bets, seals and the draw on disk. It promises, whatever dies and whenever:

- what `commit` reports as stored, what `seal_and_draw` reports as sealed or drawn, and what `open_upload` and `void`
  report as done, is on disk when the call returns;
- a parcel is stored whole or not at all, and a refused parcel harms no other of its group, save that later parcels of
  the same upload no longer fit;
- a bet with an upload is stored once: a parcel is taken only at the end of its upload, and only from whoever opened
  the upload last. What an earlier one still has under way can never land, whichever process opened the upload since;
- the draw takes place once, sees every stored bet, and nothing of its draw changes afterwards;
- the draws in one store file never see each other's uploads, seals and winners;
- opening the store again finds all of it.

An upload is *identified*, by draw, agency and its id, or *anonymous*: the bets that an agency has sent by revisions 5
to 8 are one upload without id and total. An agency has either identified uploads in a draw or the anonymous one, until
an operator voids what came first. Voided uploads stay in the book as evidence and count nowhere: not among the bets,
not in the draw, not for the limits, and their identity is free again.

Calls may come from any thread; they are served one at a time. One process at a time has a store open.

After a `StorageError` from a call that writes nobody can know what is on disk: the store then refuses everything but
`close`, and the only honest reply to a peer is none at all. `StoreFull` is the one exception: nothing of that call was
stored, and the store goes on.

Nothing in here knows SQL, CSV or the layout of a bet. Whoever adds a store subclasses `BetStore`, registers it under a
scheme, and runs `bets_server.store.conformance` against it. What callers and stores hand each other is in `_values`.
"""

from __future__ import annotations

import abc
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from bets_protocol import Bet, BetRun, ConfigError, StorageError
from bets_server.store.values import (
    MAX_UNFINISHED_UPLOADS,
    MAX_UPLOADS,
    AuditEntry,
    DrawState,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    UploadState,
    Verdict,
)

MAX_DRAW_ID: Final = 0xFFFF_FFFF
"""The wire carries a draw's id as a u32."""

_LONGEST_SUFFIX: Final = 16
"""Bytes that the names of the files beside a book may add to its own, such as -journal and .control."""

_SQLITE_PATH_BYTES: Final = 512
"""The longest path that SQLite takes."""


class BetStore(abc.ABC):
    """One draw's uploads, bets, seals and winners on disk.

    Attributes:
        max_unfinished_uploads: how many unfinished uploads an agency may have in the draw; looked at by each
            `open_upload`, and free to be set to another number.
        max_uploads: likewise how many uploads it may have, finished or not.
        upgraded_from: the version of its format that was brought up to date when it was opened; None: none was.

    Thread: any; calls are served one at a time.
    """

    max_unfinished_uploads: int = MAX_UNFINISHED_UPLOADS
    max_uploads: int = MAX_UPLOADS
    upgraded_from: int | None = None

    @abc.abstractmethod
    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        """Store a group of parcels in one transaction with one flush to disk.

        A parcel without a ticket is refused as a whole when any of its agencies is sealed (SEALED) or has identified
        uploads (MODE_CONFLICT). One with a ticket, by what the book says of its upload, in this order: FENCED where
        the upload was opened again, was voided, or is none of this draw and of the agency of the ticket and its runs;
        DRAW_CLOSED; SEALED; FENCED where it does not begin at the upload's end; OVERRUN where it has more bets than
        the upload lacks.

        Args:
            group: in the order in which it is stored. Several parcels of one upload may follow each other, each
                beginning where the one before it ends.

        Returns:
            One receipt for each parcel, in the same order. `Verdict.STORED` means that it is on disk.

        Raises:
            StoreFull: nothing of the group is stored; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    def append(self, batches: Sequence[Sequence[BetRun]]) -> list[Verdict]:
        """Store a group of batches without uploads: `commit` for parcels without tickets.

        Returns:
            One verdict for each batch, in the same order.

        Raises:
            StoreFull: likewise.
            StorageError: likewise.
        """
        return [receipt.verdict for receipt in self.commit([Parcel(runs=tuple(batch)) for batch in batches])]

    @abc.abstractmethod
    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload, new or begun, and fence whoever had it: earlier tickets are worthless when this returns.

        In this order: MISMATCH where the upload is there with another total; OK where it is finished, whatever came
        after; DRAW_CLOSED; SEALED; MODE_CONFLICT where the agency has an anonymous upload; LIMIT where a new one is
        more than the agency may have. Nothing changes unless the code is OK.

        Args:
            agency: whose upload it is.
            upload_id: its 16 bytes.
            total: how many bets it has in all.
            note: who opens it, for the audit.

        Raises:
            InvalidMessage: a value that cannot be one; nothing changed.
            StoreFull: nothing changed; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and, where it was the last one missing, draw: all in one transaction.

        Sealing twice counts once. Once the draw is over, nothing changes any more and the outcome says `drawn`. An
        agency with an unfinished upload is not sealed: nothing changes and the outcome says `incomplete`.

        Args:
            agency: the agency that has sent everything.
            expected: how many agencies take part: 1 to `expected`. Looked at anew on each call, so that a server
                started again with another number goes by that one.
            pick: gives the winning number. Called only when every expected agency is sealed, and at most once.
            forced: an operator closes the agency without what is missing. Unfinished uploads stay as they are, and
                their bets take part.
            note: who asks, or why it is closed, for the audit.

        Raises:
            ConfigError: `expected`, or the number that `pick` gave, is out of its range; nothing changed. Whatever
                `pick` itself raises passes through, and likewise nothing changed.
            InvalidMessage: `agency` cannot be one; nothing changed.
            StoreFull: nothing changed; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def void(self, number: int, *, reason: str) -> UploadState:
        """Take an anonymous or an unfinished upload out of the draw, before the draw; its agency is no longer sealed.

        The bets stay in the book as evidence and count nowhere any more.

        Args:
            number: the upload's number, see `uploads`.
            reason: why, for the audit.

        Returns:
            The upload as it is now.

        Raises:
            NotVoidable: there is no such upload, it is finished or void already, or the draw is over; nothing changed.
            StoreFull: nothing changed; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def uploads(self) -> list[UploadState]:
        """Every upload of the draw, anonymous and voided ones included, by number."""

    def find_upload(self, agency: int, upload_id: bytes) -> UploadState | None:
        """The upload of this identity, if there is one that is not voided.

        A store that finds it faster than by going through all of them says how.
        """
        return next(
            (
                upload
                for upload in self.uploads()
                if (upload.agency, upload.upload_id, upload.voided) == (agency, upload_id, False)
            ),
            None,
        )

    @abc.abstractmethod
    def audit(self) -> Iterator[AuditEntry]:
        """What was done in this store, in all its draws, when the first entry is asked for; the oldest first.

        An entry is written together with what it tells of, and never changes. They are read a piece at a time, as bets
        are; other calls may come in between.

        Raises:
            StorageError: on the way, where what is on disk cannot be read; says where.
        """

    @abc.abstractmethod
    def winners(self, agency: int) -> tuple[str, ...] | None:
        """The documents of an agency's winning bets in the order in which the bets were stored.

        Returns:
            None as long as the draw has not taken place.
        """

    @abc.abstractmethod
    def state(self) -> DrawState:
        """What is known of the draw now."""

    @abc.abstractmethod
    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The bets that are stored when the first one is asked for, in the order in which they were stored.

        They are read a piece at a time, so a book of any size may be walked; other calls may come in between. When the
        store is closed meanwhile, the walk ends with a `StorageError` at the next piece.

        Args:
            agency: only the bets of this agency; None for those of all.

        Raises:
            StorageError: on the way, where what is on disk cannot be read or is not a bet; says where.
        """

    def require_in_place(self) -> None:  # noqa: B027 - a store need not lie in files
        """Make sure that what the store writes is where it was opened, so that it will be found there again.

        `commit` and the other calls that write make sure of it by themselves, before they return. A store that lies in
        files says how. Thread: any; it waits for no other call.

        Raises:
            StorageError: a file was moved, deleted or replaced, or has got a second name.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice is harmless; any other call afterwards raises `StorageError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StoreOpener(Protocol):
    """What `register_store` takes: opens the store behind a URL of its scheme."""

    def __call__(self, url: str, *, draw: int, create: bool, readonly: bool) -> BetStore:
        """Open the store; see `open_store`, which has checked the scheme and the draw's id."""
        ...


_openers: dict[str, StoreOpener] = {}


def register_store(scheme: str, opener: StoreOpener) -> None:
    """Make `open_store` know another kind of store.

    Args:
        scheme: what stands before ``://``; a scheme that is taken is a `ConfigError`.
        opener: called for the URLs of that scheme.
    """
    if scheme in _openers:
        raise ConfigError(f"a store for {scheme}:// is registered already")
    _openers[scheme] = opener


def store_schemes() -> tuple[str, ...]:
    """The schemes that `open_store` knows, in alphabetical order."""
    return tuple(sorted(_openers))


def open_store(url: str, *, draw: int = 1, create: bool = True, readonly: bool = False) -> BetStore:
    """Open the store that a URL names, and one draw of it.

    Args:
        url: ``sqlite:///path`` or ``csv:///path``, or another scheme that is registered. What follows the third slash
            is the path as it stands: ``sqlite:///bets.db`` lies in the working folder, ``sqlite:////data/bets.db`` in
            ``/data``.
        draw: the draw's id, 0 to 4294967295. Bets, seals and winners of other draws are not seen.
        create: make the store where there is none, and bring one of an older format up to date. False: both are errors,
            and nothing is created or changed.
        readonly: open it for reading, and change nothing: what is missing is an error, an older format is read, and
            each call that writes raises `StorageError`.

    Raises:
        ConfigError: the URL or the draw's id cannot be one.
        StorageError: the store cannot be opened, or is not what it should be; nothing in it was changed.
    """
    before, separator, _ = url.partition("://")
    scheme = before.lower()
    if not separator or scheme not in _openers:
        known = ", ".join(f"{name}://" for name in store_schemes())
        raise ConfigError(f"{url!r} names no store: expected a URL that begins with one of {known}")
    if not 0 <= draw <= MAX_DRAW_ID:
        raise ConfigError(f"the draw's id is {draw}, and must be 0 to {MAX_DRAW_ID}")
    return _openers[scheme](url, draw=draw, create=create and not readonly, readonly=readonly)


def path_of(url: str) -> Path:
    """The path in a store URL that names a file.

    Raises:
        ConfigError: there is none.
    """
    scheme, _, rest = url.partition("://")
    path = Path(rest[1:])
    if not rest.startswith("/") or not path.name:
        expected = f"{scheme}:///PATH (PATH from the working folder) or {scheme}:////PATH"
    elif any(0xD800 <= ord(character) <= 0xDFFF for character in rest):  # what Python makes of other bytes
        expected = "a path in UTF-8"
    elif not rest.isprintable():
        expected = "a path of printable characters"
    else:
        return path
    raise ConfigError(f"{url!r} names no file: expected {expected}")


def require_place(path: Path, *, create: bool, suffix: str = "") -> None:
    """Check that a file at `path` can be opened, or created where `create` says so.

    Args:
        path: of the file.
        create: whether it may be missing.
        suffix: what the name of the store's book has beside that of the file.

    Raises:
        StorageError: says what is in the way.
    """
    try:
        if not path.is_absolute():
            _require_working_folder(path)
        if not path.parent.is_dir():
            hint = (
                "" if path.is_absolute() else f" in {Path.cwd()} (an absolute path takes four slashes after the colon)"
            )
            raise StorageError(f"{path}: there is no folder {str(path.parent)!r}{hint}")
        _require_length(path, len(suffix) + _LONGEST_SUFFIX)
        found = _found(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    if found is None:
        if not create:
            raise StorageError(f"{path}: there is no such store")
    elif stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path}: is a directory; a store is a file")
    elif not stat.S_ISREG(found.st_mode):
        # A device takes what is written and keeps nothing of it.
        raise StorageError(f"{path}: is a device, a pipe or a socket; a store is a regular file")


def _require_working_folder(path: Path) -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise StorageError(f"{path}: the working folder was deleted; go to another one") from error


def _require_length(path: Path, reserved: int) -> None:
    name, whole = len(os.fsencode(path.name)), len(os.fsencode(os.path.realpath(path)))
    longest_name = os.pathconf(path.parent, "PC_NAME_MAX") - reserved
    if name > longest_name:
        raise StorageError(
            f"{path}: the name has {name} bytes; a store's may have {longest_name} there, since other files add to it"
        )
    longest = _SQLITE_PATH_BYTES - reserved
    if whole > longest:
        raise StorageError(f"{path}: the path has {whole} bytes; a store's may have {longest}")


def _found(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise StorageError(f"{path}: is a link to {os.readlink(path)!r}, where there is no file") from error
        return None
