"""The contract of a store, and the table that finds one by the scheme of its URL.

A store keeps bets, seals and the draw on disk. It promises, whatever dies and whenever:

- what `append` reports as stored, what `seal_and_draw` reports as sealed or drawn, is on disk when the call returns;
- a batch is stored whole or not at all, and a refused batch harms no other batch of its group;
- the draw takes place once, sees every stored bet, and nothing of its draw changes afterwards;
- the draws in one store file never see each other's bets, seals and winners;
- opening the store again finds all of it.

Calls may come from any thread; they are served one at a time. One process at a time has a store open.

After a `StorageError` from `append` or `seal_and_draw` nobody can know what is on disk: the store then refuses
everything but `close`, and the only honest reply to a peer is none at all. `StoreFull` is the one exception: nothing
of that call was stored, and the store goes on.

Nothing in here knows SQL, CSV or the layout of a bet. Whoever adds a store subclasses `BetStore`, registers it under a
scheme, and runs `bets_server.store.conformance` against it.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import attrs

from bets_protocol import Bet, ConfigError, Lot, RejectCode, StorageError

MAX_DRAW_ID: Final = 0xFFFF_FFFF
"""The wire carries a draw's id as a u32."""


class StoreFull(StorageError):
    """No room on the disk: nothing of the call was stored, and the store stays usable."""


class Verdict(enum.Enum):
    """What became of one batch of a group; the value is the code that says so on the wire."""

    STORED = RejectCode.OK
    SEALED = RejectCode.SEALED
    DRAW_CLOSED = RejectCode.DRAW_CLOSED


@attrs.frozen
class SealOutcome:
    """What `BetStore.seal_and_draw` did.

    Attributes:
        newly_sealed: this call sealed the agency; False where it was sealed before, or the draw was over.
        drawn: the draw has taken place, now or earlier: `winners` has the answer.
        drawn_now: this very call drew. True once in the life of a draw.
    """

    newly_sealed: bool
    drawn: bool
    drawn_now: bool


@attrs.frozen(kw_only=True)
class DrawState:
    """What a store knows of its draw at one moment.

    Attributes:
        draw: the draw's id.
        number: the winning number, or None where the draw has not taken place.
        sealed: the agencies that are sealed.
        bets_by_agency: how many bets each agency has stored; no entry for an agency without any.
    """

    draw: int
    number: int | None
    sealed: frozenset[int]
    bets_by_agency: Mapping[int, int]

    @property
    def drawn(self) -> bool:
        """Whether the draw has taken place."""
        return self.number is not None


class BetStore(abc.ABC):
    """One draw's bets, seals and winners on disk.

    Thread: any; calls are served one at a time.
    """

    @abc.abstractmethod
    def append(self, batches: Sequence[Sequence[Lot]]) -> list[Verdict]:
        """Store a group of batches in one transaction with one flush to disk.

        Args:
            batches: the group, in the order in which it is stored; each batch is all of its lots, one lot for each run
                of bets of the same agency. A batch is refused as a whole when any of its agencies is sealed.

        Returns:
            One verdict for each batch, in the same order. `Verdict.STORED` means that it is on disk.

        Raises:
            StoreFull: nothing of the group is stored; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
        """

    @abc.abstractmethod
    def seal_and_draw(self, agency: int, *, expected: int, pick: Callable[[], int]) -> SealOutcome:
        """Seal an agency and, where it was the last one missing, draw: all in one transaction.

        Sealing twice counts once. Once the draw is over, nothing changes any more and the outcome says `drawn`.

        Args:
            agency: the agency that has sent everything.
            expected: how many agencies take part: 1 to `expected`. Looked at anew on each call, so that a server
                started again with another number goes by that one.
            pick: gives the winning number. Called only when every expected agency is sealed, and at most once.

        Raises:
            ConfigError: `expected`, or the number that `pick` gave, is out of its range; nothing changed. Whatever
                `pick` itself raises passes through, and likewise nothing changed.
            StoreFull: nothing changed; the store stays usable.
            StorageError: what is on disk is unknown; the store refuses everything from now on.
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

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice is harmless; any other call afterwards raises `StorageError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def verdict_on(batch: Sequence[Lot], sealed: Collection[int], *, drawn: bool) -> Verdict:
    """What a batch gets: the rule that every store shares."""
    if drawn:
        return Verdict.DRAW_CLOSED
    if any(lot.agency in sealed for lot in batch):
        return Verdict.SEALED
    return Verdict.STORED


class StoreOpener(Protocol):
    """What `register_store` takes: opens the store behind a URL of its scheme."""

    def __call__(self, url: str, *, draw: int, create: bool) -> BetStore:
        """Open the store; see `open_store`, which has checked the scheme and the draw's id."""


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


def open_store(url: str, *, draw: int = 1, create: bool = True) -> BetStore:
    """Open the store that a URL names, and one draw of it.

    Args:
        url: ``sqlite:///path`` or ``csv:///path``, or another scheme that is registered. What follows the third slash
            is the path as it stands: ``sqlite:///bets.db`` lies in the working folder, ``sqlite:////data/bets.db`` in
            ``/data``.
        draw: the draw's id, 0 to 4294967295. Bets, seals and winners of other draws are not seen.
        create: make the store where there is none. False: a missing store is an error and nothing is created.

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
    return _openers[scheme](url, draw=draw, create=create)


def path_of(url: str) -> Path:
    """The path in a store URL that names a file.

    Raises:
        ConfigError: there is none.
    """
    scheme, _, rest = url.partition("://")
    if not rest.startswith("/") or rest in {"/", "//"} or not rest.isprintable():
        raise ConfigError(
            f"{url!r} names no file: expected {scheme}:///PATH (PATH from the working folder) or {scheme}:////PATH"
        )
    return Path(rest[1:])


def require_place(path: Path, *, create: bool) -> None:
    """Check that a file at `path` can be opened, or created where `create` says so.

    Raises:
        StorageError: says what is in the way.
    """
    try:
        is_folder, has_parent, exists = path.is_dir(), path.parent.is_dir(), path.exists()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    if is_folder:
        raise StorageError(f"{path}: is a directory; a store is a file")
    if not has_parent:
        hint = "" if path.is_absolute() else f" in {Path.cwd()} (an absolute path takes four slashes after the colon)"
        raise StorageError(f"{path}: there is no folder {str(path.parent)!r}{hint}")
    if not create and not exists:
        raise StorageError(f"{path}: there is no such store")
