"""The messages, as frozen data.

The rules of the fields are not written here: when a message is made, its class calls the check that was generated from
the layout of its fields.

The classes have no weakref slot: only without one does CPython let the decoder set the class of an object afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from bets_protocol.errors import RejectCode
from bets_protocol.generated.layouts import FRAMES
from bets_protocol.generated.support import keeps_rules
from bets_protocol.generated.values import VALID
from bets_protocol.layout.nodes import records

# Several records of one class differ only in constants, which are not fields of the message.
_RECORDS = {record.name: record for frame in FRAMES for record in records(frame.layout)}
_CLASSES: dict[str, type] = {}


def _keeps_rules(name: str) -> Callable[[Any], None]:
    """Return the check of the class `name`, which raises `InvalidMessage` if a value breaks the rule of its field."""
    return keeps_rules(name, _RECORDS[name], VALID[name], _CLASSES)


def _tuple_of_bets(bets: Iterable[Bet]) -> tuple[Bet, ...]:
    return tuple(bets) if isinstance(bets, Iterable) else bets  # the check refuses other types


def _tuple_of_texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts) if isinstance(texts, Iterable) else texts


@attrs.frozen(kw_only=True, weakref_slot=False)
class Bet:
    """One bet of one person.

    Attributes:
        agency: the agency that accepted it, 1 to 255.
        first_name: 1 to 255 bytes of UTF-8 without control characters.
        last_name: likewise.
        document: exactly eight ASCII digits.
        birthdate: a day that exists, as YYYY-MM-DD.
        number: the number bet on, 0 to 9999.

    Raises:
        InvalidMessage: a value breaks its rule; `path` names the field.

    Source: "Bet" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("Bet")

    agency: int
    first_name: str
    last_name: str
    document: str
    birthdate: str
    number: int


@attrs.frozen(kw_only=True, weakref_slot=False)
class BetBatch:
    """1 to 255 bets that are stored together, or not at all.

    Source: "BetBatch" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("BetBatch")

    bets: tuple[Bet, ...] = attrs.field(converter=_tuple_of_bets)


@attrs.frozen(kw_only=True, weakref_slot=False)
class Ack:
    """The server's answer to a batch on revisions 5 to 8: the batch's count if all are on disk, 0 if none is stored.

    Source: "Ack" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("Ack")

    count: int


@attrs.frozen(kw_only=True, weakref_slot=False)
class WinnersRequest:
    """The client says that `agency` has sent everything and waits for its winners.

    Source: "WinnersRequest" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("WinnersRequest")

    agency: int


@attrs.frozen(kw_only=True, weakref_slot=False)
class Winners:
    """The documents of one agency's winners, in the order in which the bets were stored.

    Source: "Winners" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("Winners")

    documents: tuple[str, ...] = attrs.field(converter=_tuple_of_texts)


@attrs.frozen(kw_only=True, weakref_slot=False)
class Probe:
    """A line that tests a live server, which sends the same bytes back. Its LF, if it has one, is part of it.

    Source: "Probe" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("Probe")

    line: bytes


@attrs.frozen(kw_only=True, weakref_slot=False)
class OpenUpload:
    """Binds a connection of revision 9 to an upload.

    Attributes:
        agency: the agency of the upload, 1 to 255.
        draw: the draw's id.
        total: how many bets the upload has.
        upload_id: its 16 bytes.

    Source: "Exactly-once uploads" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("OpenUpload")

    agency: int
    draw: int
    total: int
    upload_id: bytes


@attrs.frozen(kw_only=True, weakref_slot=False)
class UploadStatus:
    """The state of an upload, which begins every reply on revision 9.

    Attributes:
        code: a number of `RejectCode`; 0 is OK.
        draw: the draw's id.
        stored: how many of its bets are on disk.
        crc32: the running CRC-32 over those bets, as they were sent.

    Source: "Exactly-once uploads" in docs/protocol.md.
    """

    __attrs_post_init__ = _keeps_rules("UploadStatus")

    code: int
    draw: int
    stored: int
    crc32: int

    @property
    def reason(self) -> RejectCode:
        """The code as a `RejectCode`."""
        return RejectCode(self.code)


@attrs.frozen(kw_only=True)
class BetRun:
    """A run of bets of one agency inside a batch, as they were sent.

    Attributes:
        agency: the agency of the bets, 1 to 255.
        count: how many they are.
        encoded: the bets, each with its length field, without the batch's header.
    """

    agency: int
    count: int
    encoded: bytes


@attrs.frozen(kw_only=True)
class EncodedBatch:
    """A batch whose frame and values were checked, and whose bets stay bytes, as a store keeps them.

    Attributes:
        count: how many bets it has, 1 to 255.
        runs: consecutive bets of one agency each, in order; almost always one run.
    """

    count: int
    runs: tuple[BetRun, ...]


Message = Bet | BetBatch | Ack | WinnersRequest | Winners | Probe | OpenUpload | UploadStatus


def _register(*kinds: type) -> None:
    """Register the classes with their layouts. A class whose fields are not those of its layout is a bug."""
    for kind in kinds:
        names = [field.name for field in attrs.fields(kind)]
        declared = [field.name for field in _RECORDS[kind.__name__].attributes]
        if names != declared:
            raise TypeError(f"{kind.__name__} has the fields {names}, its layout {declared}")
        _CLASSES[kind.__name__] = kind


_register(Bet, BetBatch, Ack, WinnersRequest, Winners, Probe, OpenUpload, UploadStatus)
