"""What the emitters of C share: lines of source, integers in C, and the functions that check text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import CalendarDate, Characters, CodeRanges

FIXED = ir.Int | ir.Float | ir.Enum | ir.Const
WIDE_BYTES: Final = 8
"""Wider integers are converted by methods of int."""


class Lines:
    """C source under construction."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 1
        self._count = 0

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __call__(self, line: str) -> None:
        self.lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines in braces after `head`."""
        self(head + " {")
        self._depth += 1
        yield
        self._depth -= 1
        self("}")

    def name(self, stem: str) -> str:
        """A variable name that nothing else in this function uses."""
        self._count += 1
        return f"{stem}{self._count}"


class Texts:
    """The functions that check text: one for each rule and encoding.

    They return TEXT_BAD for bytes that are not text or break the rule, TEXT_ASCII, or TEXT_WIDE for any other text.
    """

    def __init__(self, layouts: Iterable[ir.Node]) -> None:
        self._names: dict[tuple[str, object], str] = {}
        for layout in layouts:
            for node in ir.walk(layout):
                if isinstance(node, ir.Text):
                    self._names.setdefault((node.encoding, node.rule), f"is_text_{len(self._names)}")

    def call(self, node: ir.Text, pointer: str, size: str) -> str:
        return f"{self._names[node.encoding, node.rule]}({pointer}, {size})"

    def source(self) -> str:
        return "\n".join(self._function(name, *key) for key, name in self._names.items())

    def _function(self, name: str, encoding: str, rule: object) -> str:
        head = f"static inline int {name}(const u8 *s, Py_ssize_t n)\n{{\n"
        if isinstance(rule, CalendarDate):
            return head + "    return is_date(s, n) ? TEXT_ASCII : TEXT_BAD;\n}\n"
        characters = rule if isinstance(rule, Characters) else Characters(label="")
        least = f"    if (n < {characters.min_bytes}) return TEXT_BAD;\n" if characters.min_bytes else ""
        if characters.allowed == ((0x30, 0x39),) and not characters.excluded:
            return head + least + "    return all_digits(s, n) ? TEXT_ASCII : TEXT_BAD;\n}\n"
        if encoding == "ascii" and not characters.allowed and not characters.excluded:
            return head + least + "    return all_ascii(s, n) ? TEXT_ASCII : TEXT_BAD;\n}\n"
        # If all printable ASCII is allowed, most text is skipped eight bytes at a time.
        skip = "    const u8 *e = s + n;\n"
        if characters.pattern.fullmatch(bytes(range(0x20, 0x7F)).decode()):
            skip += "    s += plain_ascii(s, n);\n"
        refusals = f" || {_in_ranges(characters.excluded)}" if characters.excluded else ""
        refusals += f" || !({_in_ranges(characters.allowed)})" if characters.allowed else ""
        wide = "return TEXT_BAD" if encoding == "ascii" else "kind = TEXT_WIDE"
        return (
            f"{head}{least}{skip}    int kind = TEXT_ASCII;\n    while (s < e) {{\n        int size = 1;\n"
            f"        int32_t c = code_point(s, e, &size);\n        if (c < 0{refusals}) return TEXT_BAD;\n"
            f"        if (c > 0x7F) {wide};\n        s += size;\n    }}\n    return kind;\n}}\n"
        )


def _in_ranges(ranges: CodeRanges) -> str:
    return " || ".join(f"(c >= {low} && c <= {high})" if low else f"(c <= {high})" for low, high in ranges)


def is_fixed(node: ir.Node) -> bool:
    """Whether a value of `node` always takes the same number of bytes and has no parts."""
    return isinstance(node, FIXED) or (isinstance(node, ir.Bytes | ir.Text) and node.prefix is None)


def fixed_bytes_ahead(node: ir.Node) -> int:
    """How many bytes of `node` are read before its own comparison with the end."""
    if is_fixed(node):
        return ir.size_bounds(node)[0]
    if isinstance(node, ir.Bytes | ir.Text) and node.prefix is not None:
        return node.prefix.size
    return 0


def run_of_fixed(fields: Iterable[ir.Field]) -> int:
    """How many bytes `fields` start with for certain, with the length of the first text that varies."""
    total = 0
    for field in fields:
        total += fixed_bytes_ahead(field.node)
        if not is_fixed(field.node):
            break
    return total


def c_type(node: ir.Int) -> str:
    if node.signed:
        return "int64_t"
    return "uint32_t" if node.size <= 4 else "uint64_t"


def read_int(node: ir.Int, pointer: str = "p") -> str:
    if node.size == 1 and not node.signed:
        return f"{pointer}[0]"
    if node.size == 2 and not node.signed:
        first, second = (1, 0) if node.little else (0, 1)
        return f"((uint32_t){pointer}[{first}] << 8 | {pointer}[{second}])"
    kind = ("s" if node.signed else "") + ("le" if node.little else "be")
    return f"({c_type(node)})get_{kind}({pointer}, {node.size})"


def write_int(node: ir.Int, pointer: str, value: str) -> str:
    return f"put_{'le' if node.little else 'be'}({pointer}, {node.size}, {value})"


def c_int(value: int, node: ir.Int) -> str:
    if node.signed:
        return "INT64_MIN" if value == -(2**63) else f"{value}LL"
    return f"{value}U" if value < 2**32 and node.size <= 4 else f"{value}ULL"


def c_string(raw: bytes, *, readable: bool = False) -> str:
    """`raw` as a literal; `readable` leaves printable ASCII as it is."""
    plain = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\\\?') if readable else frozenset()
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in raw) + '"'
