"""Emits a C extension module: the same functions as `compiler.python`, on pointers.

`check` and `scan` touch no Python object. `decode` makes objects as it reads and drops them all if the frame is bad.
The pure functions of the same frame then find the error, so it is the same for both codecs. The classes and the pure
functions of a module are in its state: see `runtime.h`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bets_protocol.compiler.c.reading import emit_check, emit_decode
from bets_protocol.compiler.c.runs import RunsOf, emit_runs
from bets_protocol.compiler.c.scanning import Scanning
from bets_protocol.compiler.c.source import Texts, c_string
from bets_protocol.compiler.c.writing import Encoding
from bets_protocol.compiler.shape import classes as classes_of
from bets_protocol.layout import nodes as ir

HEADERS: Final = Path(__file__).parent
"""The folder of the headers: every module includes `runtime.h`, those with runs also include `crc32.h`."""


def emit_c_module(
    module: str,
    frames: Mapping[str, ir.Node],
    *,
    runs: RunsOf | None = None,
    digest: str = "",
    python: str = "",
    heading: str = "A native codec.",
) -> str:
    """The C source of an extension module with the functions of all `frames`, by their names.

    It has `bind(classes, pure)`: the frozen slots classes by their names, and the pure functions by their names
    (``decode_<frame>``).

    Args:
        module: the name that it is imported by, with its packages.
        frames: their layouts.
        runs: records that can also be split and searched as bytes.
        digest: identifies the layouts that it was made from.
        python: the source of a Python module of the same frames, whose classes and functions the module binds to
            by itself.
        heading: the comment in the first line.

    Returns:
        The source, which includes headers of the folder `HEADERS`; `with_headers` makes it one file.

    Raises:
        TypeError: a layout that cannot be emitted.
    """
    records = classes_of(frames.values())
    texts = Texts(frames.values())
    scanners = {name: Scanning(name, node) for name, node in frames.items()}
    scans = {name: scanner.emit() for name, scanner in scanners.items()}
    out = [
        f"/* {heading} */\n",
        f'#define MODULE_NAME "{module}"',
        f"#define SCAN_VARIABLES {max((scanner.variables for scanner in scanners.values()), default=1)}",
        '#include "runtime.h"\n',
        _state(frames, records),
        texts.source(),
    ]
    methods: list[str] = []
    for name, node in frames.items():
        out.append(emit_check(name, node, texts))
        out.append(emit_decode(name, node, texts))
        out.append(Encoding(name, node, texts).emit())
        out.append(scans[name])
        methods += [f'    {{"{verb}_{name}", py_{verb}_{name}, METH_O, NULL}},\n' for verb in _VERBS]
    if runs:
        out += '#include "crc32.h"', emit_runs(runs)
        methods += [
            f'    {{"{name}", (PyCFunction)(void (*)(void))py_{name}, METH_FASTCALL, NULL}},\n'
            for name in (f"split_{runs.name}", f"survey_{runs.name}")
        ]
    out.append(_module_end(module.rpartition(".")[2], frames, records, methods, digest, python))
    return "\n".join(out)


def with_headers(source: str) -> str:
    """The C `source` with the text of the headers instead of the lines that include them."""
    for header in HEADERS.glob("*.h"):
        source = source.replace(f'#include "{header.name}"\n', header.read_text(encoding="utf-8"))
    return source


_VERBS = ("check", "decode", "encode", "scan")


def _state(frames: Iterable[str], records: Iterable[ir.Record]) -> str:
    """The state of a module: its classes, the offsets of their slots, and the pure functions."""
    lines, names = [], []
    for record in records:
        lines.append(f"    PyTypeObject *type_{record.name};\n")
        lines.append(f"    Py_ssize_t slots_{record.name}[{max(1, len(record.attributes))}];\n")
        fields = "".join(f"{c_string(field.name.encode())}, " for field in record.attributes)
        names.append(f"static const char *const names_{record.name}[] = {{{fields}NULL}};\n")
    lines += [f"    PyObject *pure_{verb}_{name};\n" for name in frames for verb in _VERBS]
    return f"typedef struct {{\n    Shared shared;\n{''.join(lines)}}} State;\n\n{''.join(names)}"


def _module_end(
    module: str,
    frames: Mapping[str, ir.Node],
    records: Iterable[ir.Record],
    methods: list[str],
    digest: str,
    python: str,
) -> str:
    classes = [record.name for record in records]
    bind_classes = "".join(
        f'    if (bind_class(classes, "{name}", &state->type_{name}, names_{name}, state->slots_{name}) < 0)\n'
        "        return NULL;\n"
        for name in classes
    )
    bind_pure = "".join(
        f'    Py_XSETREF(state->pure_{verb}_{name}, Py_XNewRef(PyDict_GetItemString(pure, "{verb}_{name}")));\n'
        for name in frames
        for verb in _VERBS
    )
    objects = [f"state->type_{name}" for name in classes]
    objects += [f"state->pure_{verb}_{name}" for name in frames for verb in _VERBS]
    objects.append("state->shared.scanner_type")
    visit = "".join(f"    Py_VISIT({each});\n" for each in objects)
    clear = "".join(f"    Py_CLEAR({each});\n" for each in objects)
    return f"""
static PyObject *py_bind(PyObject *module, PyObject *args)
{{
    PyObject *classes, *pure;
    State *state = PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "O!O!", &PyDict_Type, &classes, &PyDict_Type, &pure)) return NULL;
{bind_classes}{bind_pure}    Py_RETURN_NONE;
}}

static PyMethodDef methods[] = {{
{"".join(methods)}    {{"bind", py_bind, METH_VARARGS, "Give the codec its message classes and the pure functions."}},
    {{NULL, NULL, 0, NULL}}}};

{_own_binding(python, classes) if python else ""}
static int execute(PyObject *module)
{{
    State *state = PyModule_GetState(module);
    if (shared_begin(&state->shared, module) < 0) return -1;
    {"if (bind_own(module) < 0) return -1;" if python else ""}
    return PyModule_AddStringConstant(module, "DIGEST", "{digest}");
}}

static int traverse(PyObject *module, visitproc visit, void *arg)
{{
    State *state = PyModule_GetState(module);
{visit}    return 0;
}}

static int clear(PyObject *module)
{{
    State *state = PyModule_GetState(module);
{clear}    return 0;
}}

static void release(void *module)
{{
    clear(module);
    shared_end(&((State *)PyModule_GetState(module))->shared);
}}

static PyModuleDef_Slot slots[] = {{
    {{Py_mod_exec, (void *)execute}},
#if PY_VERSION_HEX >= 0x030C0000
    {{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}},
#endif
    {{0, NULL}}}};

static struct PyModuleDef definition = {{
    PyModuleDef_HEAD_INIT, "{module}", "The native codec.", sizeof(State), methods, slots, traverse, clear, release}};

PyMODINIT_FUNC PyInit_{module}(void)
{{
    return PyModuleDef_Init(&definition);
}}
"""


def _own_binding(python: str, classes: Iterable[str]) -> str:
    """Runs the Python source under the name of the module and binds to its classes and functions."""
    lines = "\n".join(f"    {c_string(line.encode(), readable=True)}" for line in python.splitlines(keepends=True))
    adding = "".join(
        f'        if (PyObject_SetAttrString(module, "{name}", PyDict_GetItemString(names, "{name}")) < 0) goto end;\n'
        for name in classes
    )
    return f"""
static const char python_source[] =
{lines};

static int bind_own(PyObject *module)
{{
    int bound = -1;
    PyObject *names = PyDict_New(), *name = PyObject_GetAttrString(module, "__name__"), *done = NULL, *args = NULL;
    if (!names || !name || PyDict_SetItemString(names, "__name__", name) < 0) goto end;
    if (!(done = PyRun_String(python_source, Py_file_input, names, names))) goto end;
    Py_CLEAR(done);
    if (!(args = PyTuple_Pack(2, names, names)) || !(done = py_bind(module, args))) goto end;
{adding}    bound = 0;
end:
    Py_XDECREF(names); Py_XDECREF(name); Py_XDECREF(args); Py_XDECREF(done);
    return bound;
}}
"""
