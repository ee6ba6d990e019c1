"""Writes Python: the layouts, the codec and the checks of several frames, and a whole module for a single frame.

The output is deterministic: the same declarations give the same bytes, so that a test can tell when it is stale.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import attrs

from bets_protocol.compiler.python.reading import emit_check, emit_decode, emit_twin
from bets_protocol.compiler.python.scanning import emit_scan
from bets_protocol.compiler.python.source import RUNTIME_NAMES, python_type, region_name, rule_name
from bets_protocol.compiler.python.values import emit_valid
from bets_protocol.compiler.python.writing import PutNames, emit_encode, emit_put
from bets_protocol.compiler.read import UnsupportedConstruct, read_construct
from bets_protocol.compiler.shape import classes
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import Rule
from bets_protocol.schema import FrameSchema
from bets_protocol.version import __version__


def read_frames(frames: Iterable[FrameSchema]) -> dict[str, ir.Node]:
    """The layout of each frame, by its name.

    Raises:
        UnsupportedConstruct: a declaration that cannot be compiled, or two that do not go together.
    """
    nodes: dict[str, ir.Node] = {}
    by_class: dict[str, ir.Record] = {}
    for frame in frames:
        node = nodes[frame.name] = read_construct(frame.layout)
        if not isinstance(ir.unwrap(node), ir.Record):
            raise UnsupportedConstruct(frame.layout, frame.name, "a frame must be a Struct")
        if ir.size_bounds(node)[0] == 0:
            raise UnsupportedConstruct(frame.layout, frame.name, "a frame that may take no bytes")
        for record in ir.records(node):
            if record.attributes != by_class.setdefault(record.name, record).attributes:
                raise UnsupportedConstruct(frame.layout, frame.name, f"another {record.name} has other fields")
    return nodes


def emit_layouts(nodes: Mapping[str, ir.Node]) -> str:
    """The rules, the layouts that are looked at by themselves, and the layout of each frame in `nodes`."""
    named: dict[Any, str] = {}
    parts: list[str] = []
    walked = [part for node in nodes.values() for part in ir.walk(node)]
    for rule in dict.fromkeys(part.rule for part in walked if isinstance(part, ir.Text) and part.rule):
        parts.append(f"{rule_name(rule)}: Final = {rule!r}\n\n")
        named[rule] = rule_name(rule)
    # A record that is part of more than one frame is written once.
    for record in classes(nodes.values()):
        if sum(record in ir.records(node) for node in nodes.values()) > 1:
            name = f"{record.name.upper()}_RECORD"
            parts.append(f"{name}: Final = {_literal(record, named)}\n\n")
            named[record] = name
    needed = emit_values(nodes)
    for region in dict.fromkeys(part for part in walked if isinstance(part, ir.Region)):
        if region_name(region) in needed:
            parts.append(f"{region_name(region)}: Final = {_literal(region.sub, named)}\n\n")
    parts += [f"{name.upper()}: Final = {_literal(node, named)}\n\n" for name, node in nodes.items()]
    return "".join(parts).rstrip("\n") + "\n"


def emit_codec(nodes: Mapping[str, ir.Node]) -> str:
    """The functions of every frame in `nodes`; the layout of the frame `name` is called `layouts.NAME`."""
    puts = _put_names(nodes.values())
    pieces = [emit_twin(record) for record in classes(nodes.values())]
    pieces += [emit_put(record, puts) for record in puts]
    for name, layout in nodes.items():
        constant = f"layouts.{name.upper()}"
        pieces += [
            emit_check(name, layout, constant),
            emit_decode(name, layout, constant),
            emit_encode(name, layout, constant, puts),
            emit_scan(name, layout),
        ]
    return "\n\n\n".join(pieces) + "\n"


def emit_values(nodes: Mapping[str, ir.Node]) -> str:
    """`valid_<Record>` for every message class in `nodes`, and `VALID`, the table of them."""
    records = classes(nodes.values())
    table = "".join(f"    {record.name!r}: valid_{record.name},\n" for record in records)
    table = f"VALID: Final[Mapping[str, Callable[[Any, Mapping[str, type]], bool]]] = {{\n{table}}}\n"
    return "\n\n\n".join([*(emit_valid(record) for record in records), table])


def _put_names(nodes: Iterable[ir.Node]) -> PutNames:
    """A function for each record, numbered where records of one class differ in their constants."""
    names: dict[ir.Record, str] = {}
    for record in ir.records(*nodes):
        earlier = sum(other.name == record.name for other in names)
        names[record] = f"_put_{record.name}" + (f"_{earlier + 1}" if earlier else "")
    return names


def emit_schema_module(name: str, layout: ir.Node) -> str:
    """The source of a whole module for the frame `name`: its layout, its message classes and its codec.

    It needs this library, in the version that wrote it, and attrs; construct and the declaration it does not.
    """
    nodes = {name: layout}
    layouts = emit_layouts(nodes)
    body = "\n\n".join([emit_values(nodes), *(_emit_class(record, name) for record in classes(nodes.values()))])
    body += "\n\n" + emit_codec(nodes)
    constants = "".join(f"{constant} = layouts.{constant}\n" for constant in constants_in(body))
    support = import_of("bets_protocol.generated.support", RUNTIME_NAMES, f"keeps_rules {body}")
    # The names of the layout's parts stay inside, since a message class may have the same.
    inner = textwrap.indent(f"{import_of_layouts(layouts)}\n{layouts}", "    ")
    return f'''"""The frame {name}: its message classes and its codec.

Written by bets_protocol.compiler {__version__}: write it again for another version of bets_protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import attrs

from bets_protocol.errors import DecodeError, FrameTooLarge
{support}

class layouts:
{inner}

{constants}_CLASSES: Final[dict[str, type]] = {{}}


{body}'''


def _emit_class(record: ir.Record, frame: str) -> str:
    fields = "".join(f"    {field.name}: {python_type(field.node)}\n" for field in record.attributes)
    checked = f'keeps_rules("{record.name}", layouts.{frame.upper()}, valid_{record.name}, _CLASSES)'
    return (
        "\n@attrs.frozen(kw_only=True, weakref_slot=False)\n"
        f"class {record.name}:\n"
        f'    """A {record.name} of the frame {frame}."""\n\n'
        f"    __attrs_post_init__ = {checked}\n\n"
        f'{fields}\n\n_CLASSES["{record.name}"] = {record.name}\n'
    )


def constants_in(code: str) -> list[str]:
    """The rules and regions that `code` names."""
    return sorted(set(re.findall(r"\b(?:RULE|REGION)_[0-9A-F]{8}\b", code)))


def import_of(module: str, names: Iterable[str], code: str) -> str:
    """The import of those of `names` that `code` uses."""
    used = [name for name in names if re.search(rf"\b{name}\b", code)]
    if not used:
        return ""
    line = f"from {module} import {', '.join(used)}\n"
    if len(line) <= 120:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in used) + ")\n"


def import_of_layouts(code: str) -> str:
    """The imports of what layouts are made of, as far as `code` uses it."""
    nodes = sorted(kind.__name__ for kind in (*get_args(ir.Node), ir.Field, ir.Frame))
    kinds = sorted(kind.__name__ for kind in get_args(Rule))
    return import_of("bets_protocol.layout.nodes", nodes, code) + import_of("bets_protocol.layout.rules", kinds, code)


def _literal(part: Any, named: Mapping[Any, str], indent: str = "") -> str:
    """A part of a layout as source, each field on a line; `named` has the names of parts that are constants."""
    if part in named:
        return named[part]
    if isinstance(part, tuple):
        items = "".join(f"{_literal(item, named, indent)}, " for item in part)
        return f"({items})".replace(", \n", ",\n")
    if not attrs.has(type(part)):
        return repr(part)
    arguments = [
        f"{field.name}={_literal(value, named, indent + '    ')}"
        for field in attrs.fields(type(part))
        if (value := getattr(part, field.name)) != field.default
    ]
    source = f"{type(part).__name__}({', '.join(arguments)})"
    return f"\n{indent}{source}" if isinstance(part, ir.Field) else source
