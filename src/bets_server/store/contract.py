"""The contract of a store, and the table that finds one by the scheme of its URL.

A store keeps uploads with their bets, seals and the draw on disk. Whichever process fails and when, it promises:

- What `commit` reports as stored, `seal_and_draw` as sealed or drawn, and `open_upload` and `void` as done, is on disk
  when the call returns.
- A parcel is stored whole or not at all. A refused parcel does not affect the others of its group, except that later
  parcels of the same upload no longer fit.
- A bet with an upload is stored once: a parcel is taken only at the end of its upload, and only with the ticket of the
  last opening. Parcels of an earlier opening are never stored, whichever process opened the upload since.
- The draw takes place once, sees every stored bet, and nothing of its draw changes afterwards.
- The draws in one store file never see each other's uploads, seals and winners.
- Opening the store again finds all of it.

An upload is *identified*, by draw, agency and its id, or *anonymous*: the bets that an agency has sent by revisions 5
to 8 are one upload without id and total. An agency has either identified uploads in a draw or the anonymous one, until
an operator voids what came first. Voided uploads stay in the book as evidence and count nowhere: not among the bets,
not in the draw, not for the limits; their identity is free again.

Calls may come from any thread; they are served one at a time. One process at a time has a store open.

After a `StorageError` from a call that writes, nobody can know what is on disk. The store then refuses everything but
`close`, and the server must not answer the peer at all. `StoreFull` is the exception: nothing of that call was stored,
and the store goes on.

This module does not know SQL, CSV or the layout of a bet. To add a store, subclass `BetStore`, register it under a
scheme, and run `bets_server.store.conformance` against it. Arguments and results are in `values`.
"""

from __future__ import annotations

import abc
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from bets_protocol import Bet, ConfigError, StorageError, limits
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
)

_LONGEST_SUFFIX: Final = 16
"""Bytes that the names of the files beside a book may add to its own, such as -journal and .control."""

_SQLITE_PATH_BYTES: Final = 512
"""The longest path that SQLite takes."""


class BetStore(abc.ABC):
    """One draw's uploads, bets, seals and winners on disk.

    Attributes:
        max_unfinished_uploads: how many unfinished uploads an agency may have in the draw. It may be changed at any
            time; each `open_upload` reads it.
        max_uploads: likewise how many uploads it may have, finished or not.
        upgraded_from: the older version of its format from which opening brought it up to date, or None.

    Thread: any; calls are served one at a time.
    """

    max_unfinished_uploads: int = MAX_UNFINISHED_UPLOADS
    max_uploads: int = MAX_UPLOADS
    upgraded_from: int | None = None

    @abc.abstractmethod
    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        """Store a group of parcels in one transaction with one flush to disk.

        A parcel without a ticket is refused as a whole if any of its agencies is sealed (SEALED) or has identified
        uploads (MODE_CONFLICT). For a parcel with a ticket the book's entry of its upload decides, in this order:
        FENCED if the upload was opened again, was voided, or is not of this draw and of the agency of the ticket and
        of its runs; DRAW_CLOSED; SEALED; FENCED if the parcel does not begin at the upload's end; OVERRUN if it has
        more bets than the upload lacks.

        Args:
            group: in the order in which it is stored. Several parcels of one upload may follow each other, each
                beginning where the one before it ends.

        Returns:
            One receipt for each parcel, in the same order. `Verdict.STORED` means that it is on disk.

        Raises:
            StoreFull: nothing of the group is stored; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload, new or begun, and fence its earlier openings: their tickets no longer count.

        The code is the first that applies: MISMATCH if the upload exists with another total; OK if it is finished;
        DRAW_CLOSED; SEALED; MODE_CONFLICT if the agency has an anonymous upload; LIMIT if a new one is more than the
        agency may have; OK. Nothing changes unless the code is OK.

        Args:
            agency: whose upload it is.
            upload_id: its 16 bytes.
            total: how many bets it has in all.
            note: who opens it, for the audit.

        Raises:
            InvalidMessage: a value is not allowed; nothing changed.
            StoreFull: nothing changed; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and draw if it was the last one missing, in one transaction.

        Sealing an agency again has no effect. After the draw nothing changes any more, and the outcome says `drawn`.
        An agency with an unfinished upload is not sealed: nothing changes, and the outcome says `incomplete`.

        Args:
            agency: the agency that has sent everything.
            expected: how many agencies take part: 1 to `expected`. Each call uses its own, so a server that is started
                again may have another.
            pick: returns the winning number. Called only if every expected agency is sealed, and at most once.
            forced: an operator closes the agency without what is missing. Unfinished uploads stay as they are, and
                their bets take part.
            note: who asks, or why it is closed, for the audit.

        Raises:
            ConfigError: `expected`, or the number that `pick` returned, is out of its range; nothing changed. An
                exception of `pick` passes through, and nothing changed either.
            InvalidMessage: `agency` is not 1 to 255; nothing changed.
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
        """The upload of this identity that is not voided, or None.

        A store may override this with a faster search.
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
        """The audit of all draws of this store, oldest first, as of the moment when the first entry is read.

        An entry is written in one transaction with what it records, and never changes. Entries are read a page at a
        time, as bets are; other calls may come in between.

        Raises:
            StorageError: during the walk, if an entry cannot be read; says which.
        """

    @abc.abstractmethod
    def winners(self, agency: int) -> tuple[str, ...] | None:
        """The documents of an agency's winning bets in the order of storing; None before the draw."""

    @abc.abstractmethod
    def state(self) -> DrawState:
        """What is known of the draw now."""

    @abc.abstractmethod
    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets in the order of storing, as of the moment when the first one is read.

        They are read a page at a time, so a book of any size may be walked; other calls may come in between. If the
        store is closed meanwhile, the next page raises `StorageError`.

        Args:
            agency: only the bets of this agency; None for those of all.

        Raises:
            StorageError: during the walk, if a batch cannot be read or is not bets; says which.
        """

    def require_in_place(self) -> None:  # noqa: B027 - a store need not lie in files
        """Check that the store's names still lead to the open files, so that the next process finds its bets.

        `commit` and the other calls that write do this themselves before they return. A store in files overrides it.
        Thread: any; it waits for no other call.

        Raises:
            StorageError: a file was moved, deleted or replaced, or has got a second name.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the store. Calling it again has no effect; any other call afterwards raises `StorageError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StoreOpener(Protocol):
    """The function for `register_store`, which opens the store behind a URL of its scheme."""

    def __call__(self, url: str, *, draw: int, create: bool, readonly: bool) -> BetStore:
        """Open the store. `open_store` has checked the scheme and the draw's id."""
        ...


_openers: dict[str, StoreOpener] = {}


def register_store(scheme: str, opener: StoreOpener) -> None:
    """Add a kind of store to `open_store`.

    Args:
        scheme: the part of the URL before ``://``.
        opener: called for the URLs of that scheme.

    Raises:
        ConfigError: the scheme is registered already.
    """
    if scheme in _openers:
        raise ConfigError(f"a store for {scheme}:// is registered already")
    _openers[scheme] = opener


def store_schemes() -> tuple[str, ...]:
    """The schemes that `open_store` knows, in alphabetical order."""
    return tuple(sorted(_openers))


def open_store(url: str, *, draw: int = 1, create: bool = True, readonly: bool = False) -> BetStore:
    """Open one draw of the store that a URL names.

    Args:
        url: ``sqlite:///path`` or ``csv:///path``, or another registered scheme. The path begins after the third
            slash: ``sqlite:///bets.db`` is in the working folder, ``sqlite:////data/bets.db`` in ``/data``.
        draw: the draw's id, 0 to 4294967295. Bets, seals and winners of other draws are not seen.
        create: make the store if it does not exist, and bring an older format up to date. If False, both are errors,
            and nothing is created or changed.
        readonly: open it for reading, and change nothing: a missing store is an error, an older format is read, and
            each call that writes raises `StorageError`.

    Raises:
        ConfigError: the URL or the draw's id is not valid.
        StorageError: the store cannot be opened, or is not a store; nothing in it was changed.
    """
    before, separator, _ = url.partition("://")
    scheme = before.lower()
    if not separator or scheme not in _openers:
        known = ", ".join(f"{name}://" for name in store_schemes())
        raise ConfigError(f"{url!r} names no store: expected a URL that begins with one of {known}")
    if not 0 <= draw <= limits.MAX_DRAW_ID:
        raise ConfigError(f"the draw's id is {draw}, and must be 0 to {limits.MAX_DRAW_ID}")
    return _openers[scheme](url, draw=draw, create=create and not readonly, readonly=readonly)


def path_of(url: str) -> Path:
    """The path in a store URL that names a file.

    Raises:
        ConfigError: the URL names no file.
    """
    scheme, _, rest = url.partition("://")
    path = Path(rest[1:])
    if not rest.startswith("/") or not path.name:
        expected = f"{scheme}:///PATH (PATH from the working folder) or {scheme}:////PATH"
    elif any(0xD800 <= ord(character) <= 0xDFFF for character in rest):  # Python's surrogates for other bytes
        expected = "a path in UTF-8"
    elif not rest.isprintable():
        expected = "a path of printable characters"
    else:
        return path
    raise ConfigError(f"{url!r} names no file: expected {expected}")


def require_place(path: Path, *, create: bool, suffix: str = "") -> None:
    """Check that a store at `path` can be opened, or created.

    Args:
        path: of the file.
        create: whether it may be missing.
        suffix: what the name of the store's book adds to that of the file.

    Raises:
        StorageError: the folder is missing, the path is too long, or it is not a regular file.
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
        # A device accepts writes and keeps nothing.
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
