"""Emits C from the intermediate form: the same `check`, `decode`, `encode` and `scan` as `_python`, on pointers.

Besides, for records that are kept as bytes, `split`, `find` and `survey`: see `_c_lots`.

Strategy: a frame's functions are straight-line C in which every read is preceded by a comparison with the end of what
surrounds it: fields of fixed size that follow each other share one comparison. `check` and `scan` touch no Python
object. `decode` makes objects as it goes and drops them all when anything is wrong; who is wrong and where is left to
the pure functions of the same frame, so an error reads the same whichever codec runs.

A scanner must be able to stop anywhere and go on: it is one `switch` over the places where it may have to wait, and
every variable that lives across such a place lives in its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bets_protocol import _ir as ir
from bets_protocol.compiler._c_lots import CRC32, LotsOf, emit_lots, lots_methods
from bets_protocol.compiler._c_reading import Checking, Decoding
from bets_protocol.compiler._c_scanning import Scanning
from bets_protocol.compiler._c_source import Texts
from bets_protocol.compiler._c_writing import Encoding
from bets_protocol.compiler._shape import records_by_name

RUNTIME: Final = Path(__file__).with_name("runtime.h")
"""What is the same for every layout; it becomes part of each module, so that a module is one file."""


def emit_c_module(
    module: str,
    frames: Mapping[str, ir.Node],
    *,
    lots: Iterable[LotsOf] = (),
    digest: str = "",
    heading: str = "A native codec.",
) -> str:
    """The C source of an extension module `module` with the functions of all `frames`, by their names.

    The module has `bind(classes, pure)`: `classes` maps record names to frozen slots classes, `pure` maps function
    names (``decode_<frame>``) to the pure functions, which are asked when something is wrong. `digest` names the
    layouts that it was made from. `lots` are the records that can also be cut and searched as bytes.

    Raises:
        TypeError: a layout that cannot be emitted.
    """
    records = records_by_name(frames.values())
    texts = Texts(frames.values())
    scanners = {name: Scanning(name, node) for name, node in frames.items()}
    scans = {name: scanner.emit() for name, scanner in scanners.items()}
    out = [
        f"/* {heading} */\n",
        f"#define SCAN_VARIABLES {max((scanner.variables for scanner in scanners.values()), default=1)}",
        RUNTIME.read_text(encoding="utf-8"),
        *(_class_slots(record) for record in records.values()),
        texts.source(),
    ]
    methods: list[str] = []
    for name, node in frames.items():
        out += [f"static PyObject *pure_{verb}_{name};\n" for verb in _VERBS]
        out.append(Checking(name, node, texts).emit())
        out.append(Decoding(name, node, texts).emit())
        out.append(Encoding(name, node, texts).emit())
        out.append(scans[name])
        methods += [f'    {{"{verb}_{name}", py_{verb}_{name}, METH_O, NULL}},\n' for verb in _VERBS]
    lots = tuple(lots)
    if lots:
        out.append(CRC32.read_text(encoding="utf-8"))
    for records_as_bytes in lots:
        out.append(emit_lots(records_as_bytes))
        methods.append(lots_methods(records_as_bytes))
    out.append(_module_end(module, frames, records, methods, digest))
    return "\n".join(out)


_VERBS = ("check", "decode", "encode", "scan")


def _class_slots(record: ir.Record) -> str:
    names = "".join(f'"{field.name}", ' for field in record.attributes)
    return (
        f"static PyTypeObject *type_{record.name};\n"
        f"static const char *const names_{record.name}[] = {{{names}NULL}};\n"
        f"static Py_ssize_t slots_{record.name}[{max(1, len(record.attributes))}];\n"
    )


def _module_end(
    module: str, frames: Mapping[str, ir.Node], records: Mapping[str, ir.Record], methods: list[str], digest: str
) -> str:
    bind_classes = "".join(
        f'    if (bind_class(classes, "{name}", &type_{name}, names_{name}, slots_{name}) < 0) return NULL;\n'
        for name in records
    )
    bind_pure = "".join(
        f'    Py_XSETREF(pure_{verb}_{name}, Py_XNewRef(PyDict_GetItemString(pure, "{verb}_{name}")));\n'
        for name in frames
        for verb in _VERBS
    )
    return f"""
static PyObject *py_bind(PyObject *module, PyObject *args)
{{
    PyObject *classes, *pure;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", &PyDict_Type, &classes, &PyDict_Type, &pure)) return NULL;
{bind_classes}{bind_pure}    Py_RETURN_NONE;
}}

static PyMethodDef methods[] = {{
{"".join(methods)}    {{"bind", py_bind, METH_VARARGS, "Give the codec its message classes and the pure functions."}},
    {{NULL, NULL, 0, NULL}}}};

static struct PyModuleDef definition = {{
    PyModuleDef_HEAD_INIT, "{module}", "The native codec.", -1, methods, NULL, NULL, NULL, NULL}};

PyMODINIT_FUNC PyInit_{module}(void)
{{
    if (!scanner_type && !(scanner_type = (PyTypeObject *)PyType_FromSpec(&scanner_spec))) return NULL;
    if (!int_type_from_bytes
        && !(int_type_from_bytes = PyObject_GetAttrString((PyObject *)&PyLong_Type, "from_bytes"))) return NULL;
    PyObject *made = PyModule_Create(&definition);
    if (made && PyModule_AddStringConstant(made, "DIGEST", "{digest}") < 0) Py_CLEAR(made);
    return made;
}}
"""
