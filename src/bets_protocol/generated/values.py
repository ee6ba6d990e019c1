"""Whether the fields of a message hold what its layout allows.

Generated from bets_protocol.schema by `nox -s generate`: do not edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bets_protocol.generated.layouts import RULE_E0E970AE
from bets_protocol.generated.support import KNOWN_DATES, is_date, is_line, is_whole_number, utf8_size


def valid_Bet(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the Bet `message` holds what its layout allows."""
    agency = message.agency
    first_name = message.first_name
    last_name = message.last_name
    document = message.document
    birthdate = message.birthdate
    number = message.number
    if not ((type(agency) is int or is_whole_number(agency)) and 1 <= agency <= 255):
        return False
    if not (isinstance(first_name, str) and 1 <= (len(first_name) if first_name.isascii() else utf8_size(first_name)) <= 255 and (first_name.isprintable() or RULE_E0E970AE.allows(first_name))):
        return False
    if not (isinstance(last_name, str) and 1 <= (len(last_name) if last_name.isascii() else utf8_size(last_name)) <= 255 and (last_name.isprintable() or RULE_E0E970AE.allows(last_name))):
        return False
    if not (isinstance(document, str) and document.isascii() and len(document) == 8 and (document.isdecimal() and document.isascii())):
        return False
    if not (isinstance(birthdate, str) and birthdate.isascii() and len(birthdate) == 10 and (birthdate in KNOWN_DATES or is_date(birthdate))):
        return False
    return (type(number) is int or is_whole_number(number)) and 0 <= number <= 9999


def valid_BetBatch(message: Any, classes: Mapping[str, type]) -> bool:
    """Whether every field of the BetBatch `message` holds what its layout allows."""
    bets = message.bets
    return isinstance(bets, tuple) and 1 <= len(bets) <= 255 and set(map(type, bets)) <= {classes['Bet']}


def valid_WinnersRequest(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the WinnersRequest `message` holds what its layout allows."""
    agency = message.agency
    return (type(agency) is int or is_whole_number(agency)) and 1 <= agency <= 255


def valid_Probe(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the Probe `message` holds what its layout allows."""
    line = message.line
    return isinstance(line, bytes) and is_line(line, 32, 126, 1024)


def valid_Ack(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the Ack `message` holds what its layout allows."""
    count = message.count
    return (type(count) is int or is_whole_number(count)) and 0 <= count <= 255


def valid_Winners(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the Winners `message` holds what its layout allows."""
    documents = message.documents
    return isinstance(documents, tuple) and 0 <= len(documents) <= 65535 and all(isinstance(item, str) and item.isascii() and len(item) == 8 and (item.isdecimal() and item.isascii()) for item in documents)


def valid_OpenUpload(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the OpenUpload `message` holds what its layout allows."""
    agency = message.agency
    draw = message.draw
    total = message.total
    upload_id = message.upload_id
    if not ((type(agency) is int or is_whole_number(agency)) and 1 <= agency <= 255):
        return False
    if not ((type(draw) is int or is_whole_number(draw)) and 0 <= draw <= 4294967295):
        return False
    if not ((type(total) is int or is_whole_number(total)) and 0 <= total <= 18446744073709551615):
        return False
    return isinstance(upload_id, bytes) and len(upload_id) == 16


def valid_UploadStatus(message: Any, _classes: Mapping[str, type]) -> bool:
    """Whether every field of the UploadStatus `message` holds what its layout allows."""
    code = message.code
    draw = message.draw
    stored = message.stored
    crc32 = message.crc32
    if not ((type(code) is int or is_whole_number(code)) and code in {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}):
        return False
    if not ((type(draw) is int or is_whole_number(draw)) and 0 <= draw <= 4294967295):
        return False
    if not ((type(stored) is int or is_whole_number(stored)) and 0 <= stored <= 18446744073709551615):
        return False
    return (type(crc32) is int or is_whole_number(crc32)) and 0 <= crc32 <= 4294967295


VALID: Final[Mapping[str, Callable[[Any, Mapping[str, type]], bool]]] = {
    'Bet': valid_Bet,
    'BetBatch': valid_BetBatch,
    'WinnersRequest': valid_WinnersRequest,
    'Probe': valid_Probe,
    'Ack': valid_Ack,
    'Winners': valid_Winners,
    'OpenUpload': valid_OpenUpload,
    'UploadStatus': valid_UploadStatus,
}
