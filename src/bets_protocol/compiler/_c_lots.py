"""Emits what is asked of records that stand one behind the other, each behind its length, without making messages.

Two functions for each kind of record: `split_<name>` cuts the bytes into lots, runs of records of the same owner, and
`find_<name>` gives a value of each record that has a key. They read the fields where the layout has them, and take only
bytes in which every length fits: for anything else they give None, and the caller asks the pure function, whose
answer then counts.
"""

from __future__ import annotations

import attrs

from bets_protocol import _ir as ir
from bets_protocol.compiler._c_source import WIDE_BYTES, read_int


@attrs.frozen(kw_only=True)
class LotsOf:
    """What the functions are made from.

    Attributes:
        name: what they are called after.
        frame: a record behind its length.
        owner: the integer field that the records of a lot have in common; its place must not vary.
        key: the integer field that is looked for; its place from the end must not vary.
        value: the ASCII field that is wanted of a record with the key; likewise.
    """

    name: str
    frame: ir.Region
    owner: str
    key: str
    value: str


def emit_lots(lots: LotsOf) -> str:
    """Both functions, and what they share.

    Raises:
        TypeError: a field of another kind than is needed.
        LookupError: no such field, or its place varies.
    """
    record = ir.unwrap(lots.frame)
    if not isinstance(record, ir.Record):
        raise TypeError(f"{lots.name}: a frame must be a record")
    owner_at, owner = ir.field_offset(record, lots.owner)
    key_back, key = ir.field_offset_from_end(record, lots.key)
    value_back, value = ir.field_offset_from_end(record, lots.value)
    if not isinstance(value, ir.Text) or value.size is None or value.encoding != "ascii":
        raise TypeError(f"{lots.name}.{lots.value}: must be ASCII of a fixed size")
    prefix = _number(lots, "length", lots.frame.prefix)
    low, high = ir.region_bounds(lots.frame)
    return _SOURCE.format(
        name=lots.name,
        prefix=prefix.size,
        length=read_int(prefix),
        low=low,
        high=high,
        owner=read_int(_number(lots, lots.owner, owner), f"(p + {prefix.size + owner_at})"),
        key=read_int(_number(lots, lots.key, key), f"(p - {key_back})"),
        largest_key=(1 << 8 * ir.size_bounds(key)[0]) - 1,
        value_back=value_back,
        value_size=value.size,
    )


def lots_methods(lots: LotsOf) -> str:
    """The entries of both functions in the module's table."""
    return "".join(
        f'    {{"{verb}_{lots.name}", (PyCFunction)(void (*)(void))py_{verb}_{lots.name}, METH_FASTCALL, NULL}},\n'
        for verb in ("split", "find")
    )


def _number(lots: LotsOf, name: str, node: ir.Node) -> ir.Int:
    if not isinstance(node, ir.Int) or node.signed or node.size > WIDE_BYTES:
        raise TypeError(f"{lots.name}.{name}: must be an unsigned integer of at most {WIDE_BYTES} bytes")
    return node


_SOURCE = """
/* The size of the record at p, its length included; 0 where it does not fit what is left up to e. */
static inline Py_ssize_t next_{name}(const u8 *p, const u8 *e)
{{
    if (e - p < {prefix}) return 0;
    uint64_t length = {length};
    return length < {low}ULL || length > {high}ULL || (uint64_t)(e - p - {prefix}) < length
        ? 0 : {prefix} + (Py_ssize_t)length;
}}

static PyObject *py_split_{name}(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{{
    (void)module;
    if (!bytes_and_integer(arguments, count)) Py_RETURN_NONE;
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]);
    if (start == -1 && PyErr_Occurred()) {{ PyErr_Clear(); Py_RETURN_NONE; }}
    const u8 *d = (const u8 *)PyBytes_AS_STRING(arguments[0]), *e = d + PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || start >= e - d) Py_RETURN_NONE;
    const u8 *p = d + start, *first = p;
    PyObject *lots = PyList_New(0);
    if (!lots) return NULL;
    uint64_t owner = 0;
    Py_ssize_t records = 0;
    while (p < e) {{
        Py_ssize_t size = next_{name}(p, e);
        if (!size) {{ Py_DECREF(lots); Py_RETURN_NONE; }}
        uint64_t whose = {owner};
        if (records && whose != owner) {{
            if (!add_lot(lots, owner, records, first, p)) {{ Py_DECREF(lots); return NULL; }}
            first = p;
            records = 0;
        }}
        owner = whose;
        records++;
        p += size;
    }}
    if (!add_lot(lots, owner, records, first, p)) Py_CLEAR(lots);
    return lots;
}}

/* The ends of up to `room` records with the key, from *at on, which moves behind what was looked at; -1: unsound. */
static int ends_{name}(const u8 **at, const u8 *e, uint64_t key, const u8 **ends, int room)
{{
    int found = 0;
    const u8 *p = *at;
    while (p < e && found < room) {{
        Py_ssize_t size = next_{name}(p, e);
        if (!size) return -1;
        p += size;
        if ({key} == key) ends[found++] = p;
    }}
    *at = p;
    return found;
}}

static PyObject *py_find_{name}(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{{
    (void)module;
    if (!bytes_and_integer(arguments, count)) Py_RETURN_NONE;
    uint64_t key;
    if (!get_u64(arguments[1], 0, {largest_key}ULL, &key)) Py_RETURN_NONE;
    const u8 *p = (const u8 *)PyBytes_AS_STRING(arguments[0]), *e = p + PyBytes_GET_SIZE(arguments[0]);
    const u8 *ends[ENDS_AT_ONCE];
    PyObject *values = PyList_New(0);
    if (!values) return NULL;
    while (p < e) {{
        int found;
        if (e - p >= RELEASE_BYTES) {{
            Py_BEGIN_ALLOW_THREADS
            found = ends_{name}(&p, e, key, ends, ENDS_AT_ONCE);
            Py_END_ALLOW_THREADS
        }} else
            found = ends_{name}(&p, e, key, ends, ENDS_AT_ONCE);
        for (int i = 0; i < found; i++) {{
            const u8 *s = ends[i] - {value_back};
            if (!all_ascii(s, {value_size})) {{ found = -1; break; }}
            PyObject *value = new_text(s, {value_size}, TEXT_ASCII);
            int added = value ? PyList_Append(values, value) : -1;
            Py_XDECREF(value);
            if (added < 0) {{ Py_DECREF(values); return NULL; }}
        }}
        if (found < 0) {{ Py_DECREF(values); Py_RETURN_NONE; }}
    }}
    return values;
}}
"""
