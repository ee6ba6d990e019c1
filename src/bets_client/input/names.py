"""Names that look wrong to people, although the protocol takes them: invisible characters, and traces of a mistake.

No name is refused or changed. Nearly all names are plain, and checking each of them closely would be too slow, so
`may_be_odd` rules out whole pieces of a file in one pass, and `odd_names` checks the rest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from bets_protocol import Bet

_SHOWN_CHARACTERS = 40
_SHOWN_CODES = 3

# Characters without ink: spaces other than U+0020, joiners, direction marks, byte order marks, fillers, variation
# selectors, tags. Two of them (U+200C and U+200D) are part of the spelling in Persian and in Indian scripts.
_UNSEEN = (
    "\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200b\u200e\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INDIC = "\u0600-\u109f"
_IS_UNSEEN = f"[{_UNSEEN}]|(?<![{_INDIC}])[\u200c\u200d]|[\u200c\u200d](?![{_INDIC}])"  # compiled when used
_IS_SEEN = f"[^ \u200c\u200d{_UNSEEN}]"

_IS_LOST = "[?\ufffc\ufffd\ue000-\uf8ff]"
"""Replacements for characters that a program could not convert, and private-use characters."""

_SECOND = "".join(bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xC0))
_IS_MISREAD = f"[\u00c2\u00c3][{re.escape(_SECOND)}]|\u00e2\u20ac"
"""Accented letters and typographic quotes in UTF-8 whose bytes were each taken for a character."""

_QUOTES = ('""', "''", "\u201c\u201d", "\u201d\u201d", "\u2018\u2019", "\u00ab\u00bb", "``", "\u00b4\u00b4")

_PLAIN = (
    bytes(code for code in (*range(0x20, 0x7F), *b"\r\n") if code not in b'"?')
    # First bytes in UTF-8 of U+00C0 to U+00FF and of alphabets that have none of the above, and every second byte.
    # 0xC5, 0xC6 and 0xCB are left out: letters such as U+0161 are part of what `_IS_MISREAD` finds.
    + b"\xc3\xc4\xc7\xc8\xc9\xca\xcc"
    + bytes((*range(0xCE, 0xD8), *range(0xD9, 0xE0), *range(0x80, 0xC0)))
)

# Before a piece is searched, every byte that is not plain becomes a NUL, every line feed a comma, every apostrophe a
# space. Bytes of which names seldom consist alone are left out, which makes the piece shorter by two thirds.
_TABLE = bytes({0x0A: 0x2C, 0x27: 0x20}.get(code, code if code in _PLAIN else 0) for code in range(256))
_LEFT_OUT = b"\r0123456789-aeio" + bytes(range(0x80, 0xC0))


def may_be_odd(piece: bytes) -> bool:
    """Whether a piece of a file may hold odd names. It is fast, and False is always right.

    Args:
        piece: with the byte before it, or a line feed at the start of the file.
    """
    found = piece.translate(_TABLE, _LEFT_OUT)
    # Spaces and apostrophes are plain inside a name, but not at its ends.
    return b"\0" in found or b", " in found or b" ," in found


def odd_names(bet: Bet) -> Iterator[tuple[str, str]]:
    """The fields of `bet` with a name that looks wrong, each with the name and the reasons."""
    for field, name in (("first_name", bet.first_name), ("last_name", bet.last_name)):
        reasons = _oddness(name)
        if reasons:
            shown = name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..."
            yield field, f"{shown!r} {', and '.join(reasons)}"


def _oddness(name: str) -> list[str]:
    reasons = []
    unseen = list(dict.fromkeys(re.findall(_IS_UNSEEN, name)))
    if not re.search(_IS_SEEN, name):
        reasons.append("has nothing that can be seen")
    elif name[0] == " " or name[-1] == " ":
        reasons.append("begins with a space" if name[0] == " " else "ends with a space")
    if unseen:
        more = f" and {len(unseen) - _SHOWN_CODES} more" if len(unseen) > _SHOWN_CODES else ""
        reasons.append(f"holds {', '.join(map(_called, unseen[:_SHOWN_CODES]))}{more}")
    inner = re.sub(_IS_UNSEEN, "", name).strip()
    if inner.count('"') % 2 or (len(inner) > 1 and inner[0] + inner[-1] in _QUOTES):
        reasons.append("has quotes that are part of it")
    if lost := re.search(_IS_LOST, name):
        reasons.append(f"holds {_called(lost[0])} where a character may have been lost")
    if re.search(_IS_MISREAD, name):
        reasons.append(f"looks like UTF-8 that was read as Latin-1{_meant(name)}")
    return reasons


def _called(character: str) -> str:
    if character == "?":
        return "?"
    name = "BYTE ORDER MARK" if character == "\ufeff" else unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


def _meant(name: str) -> str:
    try:
        return f" ({name.encode('cp1252').decode('utf-8')!r}?)"
    except UnicodeError:
        return ""
