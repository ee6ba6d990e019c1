"""Writes the tables of a protocol's page from the layouts: Markdown, one table a frame.

A table goes between the lines ``<!-- generated: begin NAME -->`` and ``<!-- generated: end NAME -->`` of the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bets_protocol.layout import nodes as ir

_MARKER = re.compile(r"(<!-- generated: begin (\w+) -->\n).*?(<!-- generated: end \2 -->)", re.DOTALL)

_LISTED = 8
"""Members of an enumeration that fit a cell of a table."""

_HEAD = "| field | bytes | type | rule |\n|---|---|---|---|\n"


def fill_tables(page: str, tables: Mapping[str, str]) -> str:
    """`page` with every marked place filled with the table of its name.

    Raises:
        LookupError: a marker that names no table.
    """

    def fill(match: re.Match[str]) -> str:
        if match[2] not in tables:
            raise LookupError(f"no table is called {match[2]}; there are {', '.join(sorted(tables))}")
        return f"{match[1]}\n{tables[match[2]]}\n{match[3]}"

    return _MARKER.sub(fill, page)


def layout_table(layout: ir.Node) -> str:
    """A Markdown table of the fields of `layout`, inner records indented by dots."""
    rows: list[tuple[str, str, str, str]] = []
    _add_rows(rows, "", layout)
    low, high = ir.size_bounds(layout)
    total = f"\nIn all {_range(low, high)} bytes.\n"
    return _HEAD + "".join(f"| {name} | {size} | {kind} | {rule} |\n" for name, size, kind, rule in rows) + total


def frame_tables(frames: Sequence[ir.Frame]) -> dict[str, str]:
    """The table of each frame by its name, and `frames`, the table of all of them."""
    tables = {frame.name: layout_table(frame.layout) for frame in frames}
    for frame in frames:
        # The table of a record with a length in front is also known by the name of the record.
        if isinstance(frame.layout, ir.Region):
            tables[frame.class_name.lower()] = layout_table(frame.layout)
    return {**tables, "frames": _frames_table(frames)}


def _frames_table(frames: Sequence[ir.Frame]) -> str:
    rows = ["| frame | first byte | bytes | said by | revisions | what it is |\n|---|---|---|---|---|---|\n"]
    for frame in frames:
        first = frame.first_bytes
        begins = "any" if first is None else _hex_range(first[0], first[-1])
        size = _range(*ir.size_bounds(frame.layout))
        revisions = ", ".join(str(revision) for revision in frame.revisions)
        said_by = "client and server" if frame.sender == "both" else frame.sender
        rows.append(
            f"| {frame.class_name} (`{frame.name}`) | {begins} | {size} | {said_by} | {revisions} | {frame.title} |\n"
        )
    return "".join(rows)


def _add_rows(rows: list[tuple[str, str, str, str]], name: str, node: ir.Node) -> None:
    size = _range(*ir.size_bounds(node))
    match node:
        case ir.Record(fields=fields):
            for field in fields:
                _add_rows(rows, f"{name}.{field.name}" if name else field.name, field.node)
        case ir.Bounded(max_bytes=max_bytes, sub=sub):
            _add_rows(rows, name, sub)
            rows.append((name or "(the whole frame)", "", "", f"at most {max_bytes} bytes"))
        case ir.Region(prefix=prefix, sub=sub):
            length = f"{name}.length" if name else "length"
            text = f"{_range(*ir.region_bounds(node))}; the bytes that follow, this field not counted"
            rows.append((length, str(prefix.size), _int_type(prefix), text))
            _add_rows(rows, name, sub)
        case ir.Array(count=ir.Int() as count, item=item):
            rows.append((f"{name}.count", str(count.size), _int_type(count), _range(count.low, count.high)))
            _add_rows(rows, f"{name}[]", item)
        case ir.Array(item=item):
            _add_rows(rows, f"{name}[]", item)
        case ir.Switch(field=field_name, cases=cases):
            for number, case in cases:
                _add_rows(rows, f"{name} ({field_name} {number})", case)
        case ir.Const(value=value, sub=sub):
            shown = f"{value} (0x{value:02X})" if isinstance(value, int) else value.hex(" ")
            rows.append((name, size, _int_type(sub) if isinstance(sub, ir.Int) else "bytes", f"always {shown}"))
        case ir.Int():
            rows.append((name, size, _int_type(node), _range(node.low, node.high)))
        case ir.Enum(sub=sub, members=members):
            listed = ", ".join(f"{number} {member}" for member, number in members)
            rows.append((name, size, _int_type(sub), listed if len(members) <= _LISTED else "one of its codes"))
        case ir.Float():
            rows.append((name, size, f"f{8 * node.size}{' little-endian' if node.little else ''}", ""))
        case ir.Text(prefix=prefix, rule=rule):
            kind = f"{_int_type(prefix)} length + {node.encoding.upper()}" if prefix else node.encoding.upper()
            rows.append((name, size, kind, rule.expectation if rule else ""))
        case ir.Bytes(prefix=prefix):
            rows.append((name, size, f"{_int_type(prefix)} length + bytes" if prefix else "bytes", ""))
        case ir.Line(max_bytes=max_bytes, first=(low, high)):
            text = f"begins with {_hex_range(low, high)}, at most {max_bytes} bytes, ended by LF or the end of stream"
            rows.append((name, size, "a line of bytes", text))


def _int_type(node: ir.Int) -> str:
    order = " little-endian" if node.little else ""
    return f"{'i' if node.signed else 'u'}{8 * node.size}{order}"


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _hex_range(low: int, high: int) -> str:
    return f"0x{low:02X}" if low == high else f"0x{low:02X} to 0x{high:02X}"
