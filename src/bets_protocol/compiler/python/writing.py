"""Emits `encode_<frame>`, and `put_<record>`, the bytes of one record, which the encoders of all frames share.

A message was checked when it was made and cannot change, so encoding compares only its class and the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from bets_protocol.compiler.python.source import Source, class_of
from bets_protocol.layout import nodes as ir

PutNames = Mapping[ir.Record, str]
"""The function that puts each record: frames of one message class may differ in their constants."""


def emit_encode(name: str, layout: ir.Node, constant: str, puts: PutNames) -> str:
    """`encode_<name>`."""
    out = Source()
    kind = class_of(layout)
    with out.block(f"def encode_{name}(message: {kind}) -> bytes:"):
        out(f'"""The {name} frame of `message`."""')
        with out.block(f"if type(message) is not {kind}:"):
            out(f"raise refused({constant}, message)")
        out(f"return {_encoding(layout, 'message', puts)}")
    return str(out)


def emit_put(record: ir.Record, puts: PutNames) -> str:
    """The function that `puts` names for `record`."""
    out = Source()
    with out.block(f"def {puts[record]}(record: {record.name}) -> bytes:"):
        parts: list[str] = []
        for field in record.fields:
            node, access = field.node, f"record.{field.name}"
            match node:
                case ir.Text(prefix=ir.Int() as prefix):
                    # Not `prefixed`: these are the fields that a batch has thousands of.
                    content = out.variable(_text_bytes(node, access), field.name)
                    parts += [_int_bytes(prefix, f"len({content})"), content]
                case ir.Switch():
                    parts.append(_switch(out, node, field.name, puts))
                case _:
                    parts.append(_encoding(node, access, puts))
        out(f"return b''.join(({', '.join(parts)}))" if len(parts) > 1 else f"return {''.join(parts) or repr(b'')}")
    return str(out)


def _switch(out: Source, node: ir.Switch, name: str, puts: PutNames) -> str:
    # The class of the value depends on the key, which no type checker can follow.
    value, encoded = out.name(name), out.name(f"{name}_bytes")
    out(f"{value}: Any = record.{name}")
    for index, (number, case) in enumerate(node.cases):
        with out.block(f"{'el' if index else ''}if record.{node.field} == {number}:"):
            out(f"{encoded} = {_encoding(case, value, puts)}")
    with out.block("else:"):
        out(f'raise ValueError("no case for this {node.field}")')
    return encoded


def _encoding(node: ir.Node, access: str, puts: PutNames) -> str:
    """An expression for the bytes of `access`."""
    match node:
        case ir.Int():
            return _int_bytes(node, access)
        case ir.Enum(sub=sub):
            return _int_bytes(sub, access)
        case ir.Float():
            return f'pack("{node.format}", {access})'
        case ir.Const():
            return repr(node.raw)
        case ir.Bytes(prefix=prefix):
            return _prefixed(prefix, access)
        case ir.Line():
            return access
        case ir.Text(prefix=prefix):
            return _prefixed(prefix, _text_bytes(node, access))
        case ir.Region(prefix=prefix, sub=sub):
            return _prefixed(prefix, _encoding(sub, access, puts))
        case ir.Array(count=count, item=item):
            items = f"b''.join([{_encoding(item, 'item', puts)} for item in {access}])"
            return f"{_int_bytes(count, f'len({access})')} + {items}" if isinstance(count, ir.Int) else items
        case ir.Record():
            return f"{puts[node]}({access})"
        case ir.Bounded(max_bytes=max_bytes, sub=sub):
            return f"bounded({_encoding(sub, access, puts)}, {max_bytes})"
        case _:
            raise TypeError(f"a {type(node).__name__} can only be the field of a record")


def _prefixed(prefix: ir.Int | None, content: str) -> str:
    return content if prefix is None else f"prefixed({content}, {prefix.size}, {prefix.byteorder!r})"


def _text_bytes(node: ir.Text, access: str) -> str:
    return f"{access}.encode()" if node.encoding == "utf-8" else f'{access}.encode("ascii")'


def _int_bytes(node: ir.Int, access: str) -> str:
    signed = ", signed=True" if node.signed else ""
    return f'{access}.to_bytes({node.size}, "{node.byteorder}"{signed})'
