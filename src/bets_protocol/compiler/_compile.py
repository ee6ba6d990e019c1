"""Compiles any declaration of the supported kinds into a codec of its own, at run time.

For protocols that have nothing to do with bets: declare a frame in construct, get frozen classes and the functions
that check, decode, encode and scan it. `CompiledSchema.python_source` and `c_source` give the code itself, for those
who would rather commit it, as this project does with its own.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator, Mapping
from typing import Any

import attrs

from bets_protocol import _ir as ir
from bets_protocol import _rules, _runtime
from bets_protocol._errors import DecodeError, FrameTooLarge, InvalidMessage
from bets_protocol._explain_value import explain_record
from bets_protocol._octets import Octets
from bets_protocol.compiler._c import emit_c_module
from bets_protocol.compiler._module import emit_layouts, read_frames
from bets_protocol.compiler._python import classes as records_of
from bets_protocol.compiler._python import emit_codec, emit_values
from bets_protocol.compiler._tables import layout_table
from bets_protocol.schema import FrameSchema


@attrs.frozen(kw_only=True, eq=False)
class CompiledSchema:
    """A frame's codec.

    Attributes:
        name: the frame's name.
        layout: its intermediate form.
        classes: the frozen classes of its records, by name; the outermost one is `message_class`.
        check: refuses bytes that are not one whole sound frame; makes no objects.
        decode: the bytes of one whole frame to a message.
        encode: a message to bytes.
        scan: finds the end of a frame in a `bytearray` that still grows: a generator that yields how many bytes it
            needs and returns the size of the frame.
        python_source: the functions as Python.
    """

    name: str
    layout: ir.Node
    classes: Mapping[str, type[Any]]
    check: Callable[[Octets], None]
    decode: Callable[[Octets], Any]
    encode: Callable[[Any], bytes]
    scan: Callable[[bytearray], Generator[int, None, int]]
    python_source: str

    @property
    def message_class(self) -> type[Any]:
        """The class of the whole frame."""
        record = ir.unwrap(self.layout)
        if not isinstance(record, ir.Record):
            raise TypeError("a frame must be a record")
        return self.classes[record.name]

    def c_source(self, module: str) -> str:
        """The source of an extension module with the same functions; see `bets_protocol.compiler`.

        Raises:
            TypeError: the layout holds what only the Python emitter knows.
        """
        return emit_c_module(module, {self.name: self.layout})

    def table(self) -> str:
        """The fields as a Markdown table."""
        return layout_table(self.layout)


def compile_schema(declaration: Any, *, name: str = "frame") -> CompiledSchema:
    """The codec of a construct `declaration`.

    Args:
        declaration: a Struct with a name (``"Reading" / Struct(...)``), alone or inside Prefixed or Bounded; it and
            all that is in it of the supported kinds. A Struct inside becomes a class called after its own name, or
            else after its field.
        name: what the functions are called after, as in ``decode_<name>``: a Python identifier.

    Raises:
        UnsupportedConstruct: a construct of another kind; says which and where.
        ValueError: `name` is no identifier.
    """
    if not name.isidentifier():
        raise ValueError(f"expected an identifier, not {name!r}")
    frame = FrameSchema(name=name, layout=declaration, sender="both", revisions=(), title="")
    nodes = read_frames([frame])
    layouts_source, values_source, codec_source = emit_layouts(nodes), emit_values(nodes), emit_codec(nodes)
    layouts = _run(layouts_source, _namespace(ir, _rules))
    names = _namespace(_runtime) | layouts | {"layouts": types.SimpleNamespace(**layouts)}
    names |= {"DecodeError": DecodeError, "FrameTooLarge": FrameTooLarge}
    _run(values_source, names)
    classes: dict[str, type[Any]] = {}
    for record in records_of(nodes.values()):
        classes[record.name] = _make_class(record, names["VALID"][record.name], classes)
    names |= classes
    _run(codec_source, names)
    functions = {verb: names[f"{verb}_{name}"] for verb in ("check", "decode", "encode", "scan")}
    return CompiledSchema(
        name=name,
        layout=nodes[name],
        classes=types.MappingProxyType(classes),
        python_source="\n\n".join((layouts_source, values_source, codec_source)),
        **functions,
    )


def _namespace(*modules: types.ModuleType) -> dict[str, Any]:
    return {name: value for module in modules for name, value in vars(module).items() if not name.startswith("__")}


def _run(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """The names that `source`, which an emitter wrote, leaves in `names`."""
    code = compile("from __future__ import annotations\n" + source, "<compiled schema>", "exec")
    exec(code, names)  # the emitters' own output: no text of the declaration gets in but checked identifiers
    return names


def _make_class(
    record: ir.Record, valid: Callable[[Any, Mapping[str, type]], bool], classes: Mapping[str, type]
) -> type[Any]:
    def check(message: object) -> None:
        if not valid(message, classes):
            raise explain_record(record, message) or InvalidMessage(f"expected the parts of the {record.name}")

    return attrs.make_class(
        record.name,
        {field.name: attrs.field() for field in record.attributes},
        class_body={"__attrs_post_init__": check, "__doc__": f"A {record.name} of a compiled schema."},
        frozen=True,
        slots=True,
        weakref_slot=False,
        kw_only=True,
    )
