"""The intake's messages in protobuf, declared without a compiler of .proto files; and the rules of a bet, by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TEXTS = ("first_name", "last_name", "document", "birthdate")
FIELDS = ("agency", *TEXTS, "number")

Row = tuple[int, str, str, str, str, int]
"""The values of `FIELDS`."""

_DOCUMENT = re.compile(r"[0-9]{8}").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def protobuf_class() -> Any:
    """A message class `Batch { repeated Bet bets }`."""
    file = descriptor_pb2.FileDescriptorProto(name="bets_benchmark.proto", package="bench", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    bet = file.message_type.add(name="Bet")
    for index, name in enumerate(FIELDS, 1):
        kind = kinds.TYPE_STRING if name in TEXTS else kinds.TYPE_UINT32
        bet.field.add(name=name, number=index, type=kind, label=1)
    batch = file.message_type.add(name="Batch")
    batch.field.add(name="bets", number=1, type=11, label=3, type_name=".bench.Bet")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Batch"))


def checked_rows(bets: Sequence[Any]) -> list[Row]:
    """The values of bets that follow the rules.

    Raises:
        ValueError: one does not.
    """
    rows = []
    for bet in bets:
        document, birthdate, number = bet.document, bet.birthdate, bet.number
        if not _DOCUMENT(document) or not _DATE(birthdate) or number > 9999 or not 1 <= bet.agency <= 255:
            raise ValueError("a bet breaks a rule")
        date.fromisoformat(birthdate)
        first, last = bet.first_name, bet.last_name
        if not first or not last or not first.isprintable() or not last.isprintable():
            raise ValueError("a name breaks a rule")
        rows.append((bet.agency, first, last, document, birthdate, number))
    return rows
