"""Python source under construction: lines, names, and the expressions that every emitter writes in the same way.

Nothing in here knows whether bytes are read or written.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs

from bets_protocol.generated import support
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import CalendarDate, Characters, Rule

RUNTIME_NAMES = tuple(support.__all__)
"""What emitted code takes from `bets_protocol.generated.support`."""

GLOBAL_NAMES = (
    *RUNTIME_NAMES,
    *("Any", "Callable", "DecodeError", "Final", "FrameTooLarge", "Generator", "Mapping", "VALID", "attrs", "layouts"),
    *("AttributeError", "IndexError", "OverflowError", "TypeError", "ValueError"),
    *("all", "bool", "bytearray", "bytes", "float", "int", "isinstance", "len", "list", "map", "range", "set", "str"),
    *("tuple", "type"),
)
"""The global names of emitted code, which no variable and no message class may have."""

_LOCAL_NAMES = ("classes", "data", "end", "item", "message", "record", "result", "text")
"""Names that emitted functions use for one thing only."""


@attrs.frozen
class Place:
    """A position in the frame as Python source: a variable and a constant."""

    variable: str
    offset: int = 0

    def plus(self, size: int) -> Place:
        return Place(self.variable, self.offset + size)

    def __str__(self) -> str:
        if not self.offset:
            return self.variable or "0"
        return f"{self.variable} + {self.offset}" if self.variable else str(self.offset)


class Source:
    """Lines of Python under construction, and the names that are taken in them.

    Args:
        taken: names besides `GLOBAL_NAMES` that no variable may have: those of message classes.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.lines: list[str] = []
        self._depth = 0
        self._taken = {*GLOBAL_NAMES, *_LOCAL_NAMES, *taken}

    def __call__(self, line: str) -> None:
        self.lines.append("    " * self._depth + line if line else "")

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines below `head`, one level deeper."""
        self(head)
        self._depth += 1
        yield
        self._depth -= 1

    def name(self, stem: str) -> str:
        """A variable name that nothing else in this source has."""
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name

    def variable(self, expression: str, stem: str) -> str:
        """Emits an assignment to a new variable; returns its name."""
        name = self.name(stem)
        self(f"{name} = {expression}")
        return name

    def fail_if(self, condition: str) -> None:
        """Emits the exit from the fast path."""
        with self.block(f"if {condition}:"):
            self("raise ValueError")


def class_of(layout: ir.Node) -> str:
    """The name of the message class that a frame of `layout` decodes to."""
    node = ir.unwrap(layout)
    if not isinstance(node, ir.Record):
        raise TypeError(f"a frame must be a record, not {type(node).__name__}")
    return node.name


def python_type(node: ir.Node) -> str:
    """The Python type of a value of `node`, as source."""
    match node:
        case ir.Int() | ir.Enum():
            return "int"
        case ir.Float():
            return "float"
        case ir.Bytes() | ir.Line():
            return "bytes"
        case ir.Text():
            return "str"
        case ir.Array(item=item):
            return f"tuple[{python_type(item)}, ...]"
        case ir.Region(sub=sub) | ir.Bounded(sub=sub):
            return python_type(sub)
        case ir.Record(name=name):
            return name
        case ir.Switch(cases=cases):
            return " | ".join(dict.fromkeys(python_type(case) for _, case in cases))
        case _:
            raise TypeError(f"{node!r} has no value")


def read_int(node: ir.Int, place: Place) -> str:
    """An expression for the integer at `place`; past the end of the data it fails or gives any value."""
    if node.size == 1 and not node.signed:
        return f"data[{place}]"
    if node.size == 2 and not node.signed:
        first, second = str(place), str(place.plus(1))
        high, low = (second, first) if node.little else (first, second)
        return f"data[{high}] << 8 | data[{low}]"
    signed = ", signed=True" if node.signed else ""
    return f'int.from_bytes(data[{place}:{place.plus(node.size)}], "{node.byteorder}"{signed})'


def product(count: str, size: int) -> str:
    """An expression for `count` times `size`; `count` is a variable or a number."""
    if count.isdigit():
        return str(int(count) * size)
    return count if size == 1 else f"{count} * {size}"


def atom(expression: str) -> str:
    return f"({expression})" if " " in expression else expression


def text_test(node: ir.Text, value: str) -> str:
    """A condition: `value`, a text, keeps the rule of `node`; empty if every text does.

    The least number of bytes (`Characters.min_bytes`) is not part of it: the caller knows how many there are.
    """
    rule = node.rule
    match rule:
        case None | Characters(allowed=(), excluded=()):
            return ""
        case CalendarDate():
            return f"{value} in KNOWN_DATES or is_date({value})"
        case Characters() if is_decimal(rule):
            decimal = f"{value}.isdecimal() and {value}.isascii()"
            # An empty text is not decimal.
            return f"not {value} or {decimal}" if ir.content_bounds(node)[0] == 0 else decimal
        case Characters(allowed=()) if all(not chr(code).isprintable() for code in _excluded(rule)):
            # Printable text has none of them, and str tells quickly whether text is printable.
            return f"{value}.isprintable() or {rule_name(rule)}.allows({value})"
        case _:
            return f"{rule_name(rule)}.allows({value})"


def is_decimal(rule: Rule | None) -> bool:
    """Whether `rule` asks for ASCII digits."""
    return isinstance(rule, Characters) and rule.allowed == ((0x30, 0x39),) and not rule.excluded


def rule_name(rule: Rule) -> str:
    """The constant of the generated modules that holds `rule`."""
    return f"RULE_{zlib.crc32(repr(rule).encode()):08X}"


def region_name(region: ir.Region) -> str:
    """The constant of the generated modules that holds the layout inside `region`."""
    return f"REGION_{zlib.crc32(repr(region.sub).encode()):08X}"


def path_source(path: str) -> str:
    """`path`, which may hold the variables of loops in braces, as source."""
    return ("f" if "{" in path else "") + repr(path)


def _excluded(rule: Characters) -> Iterator[int]:
    for low, high in rule.excluded:
        yield from range(low, high + 1)
