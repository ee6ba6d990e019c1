"""Compiles any declaration of the supported kinds at run time: frozen classes and the functions of their frame."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Generator, Mapping
from typing import Any

import attrs

from bets_protocol.bytes_like import BytesLike
from bets_protocol.compiler.c.module import emit_c_module, with_headers
from bets_protocol.compiler.docs.tables import layout_table
from bets_protocol.compiler.modules import emit_schema_module, read_frames
from bets_protocol.compiler.python.source import class_of
from bets_protocol.compiler.read import why_no_identifier
from bets_protocol.compiler.shape import classes as classes_of
from bets_protocol.layout import nodes as ir
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
        python_source: a Python module with the classes and the functions.

    It can be copied and pickled, and so can its messages: a process that does not have it compiles it from its layout.
    To compile the same layout under the same name gives the same object as long as that is in use.
    """

    name: str
    layout: ir.Node
    classes: Mapping[str, type[Any]]
    check: Callable[[BytesLike], None]
    decode: Callable[[BytesLike], Any]
    encode: Callable[[Any], bytes]
    scan: Callable[[bytearray], Generator[int, None, int]]
    python_source: str

    @property
    def message_class(self) -> type[Any]:
        """The class of the whole frame."""
        return self.classes[class_of(self.layout)]

    def c_source(self, module: str) -> str:
        """The source of an extension module with the same classes and functions.

        Args:
            module: the name that it will be imported by, with its packages.

        Raises:
            TypeError: the layout holds what only the Python emitter knows.
            ValueError: `module` is no name of a module in ASCII.
        """
        if not module.isascii() or any(why_no_identifier(part) for part in module.split(".")):
            raise ValueError(f"expected the name of a module in ASCII, not {module!r}")
        return with_headers(emit_c_module(module, {self.name: self.layout}, python=self.python_source))

    def __reduce__(self) -> tuple[Any, ...]:
        return _compiled, (self.name, self.layout)

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
    for part in (name, name.upper()):  # functions are called after the one, the layout after the other
        if why := why_no_identifier(part):
            raise ValueError(f"expected an identifier, not {name!r}: {why}")
    frame = FrameSchema(name=name, layout=declaration, sender="both", revisions=(), title="")
    return _compiled(name, read_frames([frame])[name])


_IN_USE: weakref.WeakValueDictionary[tuple[str, ir.Node], CompiledSchema] = weakref.WeakValueDictionary()
"""What has been compiled and is in use, so that a message that comes out of a pickle has the class that went in."""


def _compiled(name: str, layout: ir.Node) -> CompiledSchema:
    known = _IN_USE.get((name, layout))
    if known is not None:
        return known
    source = emit_schema_module(name, layout)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, f"<compiled schema {name}>", "exec"), names)  # no text of the declaration but checked names
    classes = {record.name: names[record.name] for record in classes_of([layout])}
    schema = CompiledSchema(
        name=name,
        layout=layout,
        classes=types.MappingProxyType(classes),
        python_source=source,
        **{verb: names[f"{verb}_{name}"] for verb in ("check", "decode", "encode", "scan")},
    )
    for kind in classes.values():
        setattr(kind, "__reduce__", _reducing(schema))  # noqa: B010  # no module has the class under its name
    return _IN_USE.setdefault((name, layout), schema)


def _reducing(schema: CompiledSchema) -> Callable[[Any], tuple[Any, ...]]:
    def reduce(message: Any) -> tuple[Any, ...]:
        kind = type(message)
        values = {field.name: getattr(message, field.name) for field in attrs.fields(kind)}
        return _message, (schema, kind.__name__, values)

    return reduce


def _message(schema: CompiledSchema, name: str, values: dict[str, Any]) -> Any:
    return schema.classes[name](**values)
