"""Emits functions over consecutive records, each with its length in front, that make no messages.

`split_<name>` cuts the bytes into runs of records of the same owner. `survey_<name>` goes through many runs: it returns
a value of each record that has a given key, and the CRC-32 of the bytes. Both read fields at offsets from the layout.
They return None for bytes in which a length does not fit; the caller then calls the pure function.
"""

from __future__ import annotations

import attrs

from bets_protocol.compiler.c.source import WIDE_BYTES, read_int
from bets_protocol.layout import nodes as ir


@attrs.frozen(kw_only=True)
class RunsOf:
    """The record and its fields.

    Attributes:
        name: the functions are called after it.
        frame: a record with its length in front.
        owner: the integer field that all records of a run share; its place must not vary.
        key: the integer field to search for; its place from the end must not vary.
        value: the ASCII field to return of a record with the key; likewise.
    """

    name: str
    frame: ir.Node
    owner: str
    key: str
    value: str


def emit_runs(runs: RunsOf) -> str:
    """The functions.

    Raises:
        TypeError: a field of another kind than is needed.
        LookupError: no such field, or its place varies.
    """
    record = ir.unwrap(runs.frame)
    if not isinstance(runs.frame, ir.Region) or not isinstance(record, ir.Record):
        raise TypeError(f"{runs.name}: a frame must be a record behind its length")
    owner_at, owner = ir.field_offset(record, runs.owner)
    key_back, key = ir.field_offset(record, runs.key, from_end=True)
    value_back, value = ir.field_offset(record, runs.value, from_end=True)
    if not isinstance(value, ir.Text) or value.size is None or value.encoding != "ascii":
        raise TypeError(f"{runs.name}.{runs.value}: must be ASCII of a fixed size")
    prefix = _number(runs, "length", runs.frame.prefix)
    low, high = ir.region_bounds(runs.frame)
    return _SOURCE.format(
        name=runs.name,
        prefix=prefix.size,
        length=read_int(prefix),
        low=low,
        high=high,
        owner=read_int(_number(runs, runs.owner, owner), f"(p + {prefix.size + owner_at})"),
        key=read_int(_number(runs, runs.key, key), f"(p - {key_back})"),
        largest_key=(1 << 8 * ir.size_bounds(key)[0]) - 1,
        value_back=value_back,
        value_size=value.size,
    )


def _number(runs: RunsOf, name: str, node: ir.Node) -> ir.Int:
    if not isinstance(node, ir.Int) or node.signed or node.size > WIDE_BYTES:
        raise TypeError(f"{runs.name}.{name}: must be an unsigned integer of at most {WIDE_BYTES} bytes")
    return node


_SOURCE = """
static int add_run_{name}(PyObject *runs, uint64_t owner, Py_ssize_t records, const u8 *from, const u8 *to)
{{
    Py_ssize_t size = to - from;
    PyObject *run = Py_BuildValue("(Kny#)", (unsigned long long)owner, records, (const char *)from, size);
    int added = run ? PyList_Append(runs, run) : -1;
    Py_XDECREF(run);
    return added == 0;
}}

/* The size of the record at p, with its length; 0 if the record does not fit the bytes up to e. */
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
    if (count != 2 || !PyBytes_Check(arguments[0]) || !PyLong_Check(arguments[1])) Py_RETURN_NONE;
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]);
    if (start == -1 && PyErr_Occurred()) {{ PyErr_Clear(); Py_RETURN_NONE; }}
    const u8 *d = (const u8 *)PyBytes_AS_STRING(arguments[0]), *e = d + PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || start >= e - d) Py_RETURN_NONE;
    const u8 *p = d + start, *first = p;
    PyObject *runs = PyList_New(0);
    if (!runs) return NULL;
    uint64_t owner = 0;
    Py_ssize_t records = 0;
    while (p < e) {{
        Py_ssize_t size = next_{name}(p, e);
        if (!size) {{ Py_DECREF(runs); Py_RETURN_NONE; }}
        uint64_t whose = {owner};
        if (records && whose != owner) {{
            if (!add_run_{name}(runs, owner, records, first, p)) {{ Py_DECREF(runs); return NULL; }}
            first = p;
            records = 0;
        }}
        owner = whose;
        records++;
        p += size;
    }}
    if (!add_run_{name}(runs, owner, records, first, p)) Py_CLEAR(runs);
    return runs;
}}

/* What a survey reads and finds. Python has no other reference to it while the lock is released. */
typedef struct {{
    Py_ssize_t uploads, found, room;
    PyObject **runs; /* of each upload: a tuple of bytes */
    uint32_t *crcs;
    struct {{ Py_ssize_t upload; const u8 *end; }} *hits;
}} Survey_{name};

/* Runs without the interpreter lock. Returns 0 if a record does not fit or memory runs out, else 1. */
static int go_through_{name}(Survey_{name} *s, uint64_t key)
{{
    for (Py_ssize_t upload = 0; upload < s->uploads; upload++)
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(s->runs[upload]); i++) {{
            PyObject *run = PyTuple_GET_ITEM(s->runs[upload], i);
            const u8 *p = (const u8 *)PyBytes_AS_STRING(run), *e = p + PyBytes_GET_SIZE(run);
            s->crcs[upload] = crc32_of(s->crcs[upload], p, e - p);
            while (p < e) {{
                Py_ssize_t size = next_{name}(p, e);
                if (!size) return 0;
                p += size;
                if ({key} != key) continue;
                if (s->found == s->room) {{
                    Py_ssize_t room = 2 * s->room + 64;
                    void *hits = PyMem_RawRealloc(s->hits, (size_t)room * sizeof *s->hits);
                    if (!hits) return 0;
                    s->hits = hits;
                    s->room = room;
                }}
                s->hits[s->found].upload = upload;
                s->hits[s->found++].end = p;
            }}
        }}
    return 1;
}}

/* Fills the survey from the arguments. Returns 1; 0 if they have other types; -1 with an error set. */
static int take_{name}(Survey_{name} *s, PyObject *uploads)
{{
    Py_ssize_t count = PyList_GET_SIZE(uploads);
    s->runs = PyMem_Calloc((size_t)count + 1, sizeof *s->runs);
    s->crcs = PyMem_Calloc((size_t)count + 1, sizeof *s->crcs);
    if (!s->runs || !s->crcs) {{ PyErr_NoMemory(); return -1; }}
    for (Py_ssize_t upload = 0; upload < count; upload++) {{
        PyObject *one = upload < PyList_GET_SIZE(uploads) ? PyList_GET_ITEM(uploads, upload) : NULL;
        uint64_t crc;
        if (!one || !PyTuple_Check(one) || PyTuple_GET_SIZE(one) != 2) return 0;
        PyObject *runs = PyTuple_GET_ITEM(one, 0), *before = PyTuple_GET_ITEM(one, 1);
        if (!PyList_Check(runs) || !PyLong_Check(before) || !get_u64(before, 0, UINT32_MAX, &crc)) return 0;
        /* A tuple of its own, so that no other thread removes a run while the lock is released. */
        if (!(s->runs[upload] = PyList_AsTuple(runs))) return -1;
        s->crcs[upload] = (uint32_t)crc;
        s->uploads++;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(s->runs[upload]); i++)
            if (!PyBytes_Check(PyTuple_GET_ITEM(s->runs[upload], i))) return 0;
    }}
    return 1;
}}

/* The answer: the CRC-32 of each upload and the values that were found; None if a value is not ASCII. */
static PyObject *answer_{name}(const Survey_{name} *s)
{{
    PyObject *answer = PyList_New(s->uploads);
    for (Py_ssize_t upload = 0, hit = 0; answer && upload < s->uploads; upload++) {{
        PyObject *values = PyList_New(0), *one = NULL;
        for (; values && hit < s->found && s->hits[hit].upload == upload; hit++) {{
            const u8 *at = s->hits[hit].end - {value_back};
            if (!all_ascii(at, {value_size})) {{ Py_DECREF(values); Py_DECREF(answer); Py_RETURN_NONE; }}
            PyObject *value = new_text(at, {value_size}, TEXT_ASCII);
            if (!value || PyList_Append(values, value) < 0) Py_CLEAR(values);
            Py_XDECREF(value);
        }}
        if (values) one = Py_BuildValue("(kN)", (unsigned long)s->crcs[upload], values);
        if (one) PyList_SET_ITEM(answer, upload, one);
        else Py_CLEAR(answer);
    }}
    return answer;
}}

static PyObject *py_survey_{name}(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{{
    (void)module;
    uint64_t key;
    if (count != 2 || !PyList_Check(arguments[0]) || !PyLong_Check(arguments[1]) || !crc32_ready()) Py_RETURN_NONE;
    if (!get_u64(arguments[1], 0, {largest_key}ULL, &key)) Py_RETURN_NONE;
    Survey_{name} survey = {{0}};
    PyObject *answer = NULL;
    int sound = take_{name}(&survey, arguments[0]);
    if (sound > 0) {{
        Py_BEGIN_ALLOW_THREADS
        sound = go_through_{name}(&survey, key);
        Py_END_ALLOW_THREADS
    }}
    if (sound > 0) answer = answer_{name}(&survey);
    else if (!sound) answer = Py_NewRef(Py_None);
    for (Py_ssize_t upload = 0; upload < survey.uploads; upload++) Py_DECREF(survey.runs[upload]);
    PyMem_Free(survey.runs);
    PyMem_Free(survey.crcs);
    PyMem_RawFree(survey.hits);
    return answer;
}}
"""
