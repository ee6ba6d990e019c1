"""What is taken for bytes, wherever the library is given some: `bytes`, `bytearray` and `memoryview`.

Nothing else is. Python itself would take much more: the None of a stream that has nothing now and False are as empty as
the end of a stream, `bytes(5)` is five zero bytes, and a list of numbers can be appended to a bytearray.
"""

from __future__ import annotations

from typing import TypeAlias

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""What every function that takes bytes takes."""


def as_bytes(data: object) -> bytes:
    """`data` as bytes that nobody changes any more.

    Raises:
        TypeError: it is none of the three.
    """
    return data if type(data) is bytes else bytes(flat(data))


def flat(data: object) -> BytesLike:
    """`data` without a copy where it is a row of bytes already, so that its `len` is its size.

    A memoryview may hold larger items, several dimensions, or bytes that do not stand one behind the other.

    Raises:
        TypeError: it is none of the three.
    """
    if isinstance(data, bytes | bytearray):
        return data
    if isinstance(data, memoryview):
        return data if data.format == "B" and data.ndim == 1 and data.c_contiguous else data.tobytes()
    text = "; text has to be encoded first" if isinstance(data, str) else ""
    raise TypeError(f"expected bytes, bytearray or memoryview, not {type(data).__name__}{text}")
