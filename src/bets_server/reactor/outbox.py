"""Answers that wait for a peer to take them.

A long answer (the winners of an agency, half a megabyte at most) is not copied for each connection that it is due to:
`SharedAnswers` keeps it once, and every outbox refers to it. So what one connection costs stays bounded, however many
ask.
"""

from __future__ import annotations

from collections.abc import Iterator

SHARED_FROM_BYTES = 4096
"""Answers of this size on are kept once; shorter ones are gathered, so that one call sends many."""

MAX_SHARED = 1024
"""Long answers that are remembered: four draws of 255 agencies. What is forgotten is kept twice, and no harm done."""


class SharedAnswers:
    """Long answers, each kept once however often it is made.

    Thread: reactor.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}

    def of(self, answer: bytes) -> bytes:
        """The same bytes; where they are long, always the same object."""
        if len(answer) < SHARED_FROM_BYTES:
            return answer
        kept = self._kept.setdefault(answer, answer)
        if len(self._kept) > MAX_SHARED:
            del self._kept[next(iter(self._kept))]
        return kept


class Outbox:
    """Bytes in order, gathered where they are short, referred to where they are long.

    Attributes:
        size: how many wait.
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytearray | memoryview] = []
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

    def append(self, answer: bytes) -> None:
        """Puts `answer` behind all others."""
        if not answer:
            return
        self.size += len(answer)
        if len(answer) >= SHARED_FROM_BYTES:
            self._parts.append(memoryview(answer))
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += answer
        else:
            self._parts.append(bytearray(answer))

    def parts(self) -> Iterator[bytearray | memoryview]:
        """The part in front, again and again as `taken` shortens it, until nothing is left."""
        while self._parts:
            yield self._parts[0]

    def taken(self, size: int) -> None:
        """The first `size` bytes of the part in front have left."""
        front = self._parts[0]
        self.size -= size
        if size == len(front):
            del self._parts[0]
        elif isinstance(front, bytearray):
            del front[:size]
        else:
            self._parts[0] = front[size:]
