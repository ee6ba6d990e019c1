/* The part of a native codec that is the same for every layout. It needs CPython 3.11 or later.

   Everything that changes at run time is in the state of a module object: a process may import the module more than
   once, in one interpreter or in several, each time with other classes. Static variables are never written.

   A function that takes a pointer and a size reads or writes no byte outside of them; its caller has compared the size
   with the end of the data. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char u8;

/* Data of at least this size is checked without the interpreter lock. For less, releasing it costs more than it gains. */
#define RELEASE_BYTES 32768

static inline uint64_t get_be(const u8 *s, int n) { uint64_t v = 0; while (n--) v = v << 8 | *s++; return v; }
static inline uint64_t get_le(const u8 *s, int n) { uint64_t v = 0; while (n--) v = v << 8 | s[n]; return v; }
static inline int64_t with_sign(uint64_t v, int n) { uint64_t m = (uint64_t)1 << (8 * n - 1); return (int64_t)((v ^ m) - m); }
static inline int64_t get_sbe(const u8 *s, int n) { return with_sign(get_be(s, n), n); }
static inline int64_t get_sle(const u8 *s, int n) { return with_sign(get_le(s, n), n); }
static inline void put_be(u8 *s, int n, uint64_t v) { while (n--) { s[n] = (u8)v; v >>= 8; } }
static inline void put_le(u8 *s, int n, uint64_t v) { for (; n--; v >>= 8) *s++ = (u8)v; }

/* The results of a check of text. */
enum { TEXT_BAD, TEXT_ASCII, TEXT_WIDE };

#define ONES 0x0101010101010101ULL
#define HIGHS 0x8080808080808080ULL

static inline uint64_t load8(const u8 *s) { uint64_t w; memcpy(&w, s, 8); return w; }
static inline uint64_t load4(const u8 *s) { uint32_t w; memcpy(&w, s, 4); return w; }

/* Whether all eight bytes of w are ASCII digits: the high halves are 3, and adding 6 does not carry into them. */
static inline int eight_digits(uint64_t w)
{
    const uint64_t halves = ONES * 0xF0, threes = ONES * 0x30;
    return ((w & halves) == threes) & (((w + ONES * 6) & halves) == threes);
}

/* Whether all eight bytes of w are ASCII from 0x20 to 0x7E. */
static inline int eight_plain(uint64_t w)
{
    uint64_t del = w ^ (ONES * 0x7F);
    return !((w | (w - ONES * 0x20) | ((del - ONES) & ~del)) & HIGHS);
}

static inline int all_digits(const u8 *s, Py_ssize_t n)
{
    u8 bad = 0;
    if (n == 8) return eight_digits(load8(s));
    for (Py_ssize_t i = 0; i < n; i++) bad |= (u8)(s[i] - '0') > 9;
    return !bad;
}

static inline int all_ascii(const u8 *s, Py_ssize_t n)
{
    u8 any = 0;
    for (Py_ssize_t i = 0; i < n; i++) any |= s[i];
    return !(any & 0x80);
}

/* Whether the text is a day that exists, as YYYY-MM-DD. */
static inline int is_date(const u8 *s, Py_ssize_t n)
{
    static const u8 days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    u8 front[8];
    if (n != 10 || s[4] != '-' || s[7] != '-') return 0;
    memcpy(front, s, 8);
    front[4] = front[7] = '0';
    if (!eight_digits(load8(front)) || (u8)(s[8] - '0') > 9 || (u8)(s[9] - '0') > 9) return 0;
    int y = (s[0] - '0') * 1000 + (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
    int m = (s[5] - '0') * 10 + (s[6] - '0'), d = (s[8] - '0') * 10 + (s[9] - '0');
    if (y < 1 || m < 1 || m > 12 || d < 1) return 0;
    return d <= days[m] || (m == 2 && d == 29 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

/* Whether the bytes are one line, with or without its LF, that begins with a byte from low to high. */
static inline int is_line(const u8 *s, Py_ssize_t n, int low, int high, Py_ssize_t max_bytes)
{
    Py_ssize_t size = n > 0 && s[n - 1] == '\n' ? n - 1 : n;
    return size > 0 && size <= max_bytes && s[0] >= low && s[0] <= high && !memchr(s, '\n', (size_t)size);
}

/* How many bytes at the start of s are known to be ASCII from 0x20 to 0x7E: n if all of them are. The last eight bytes
   are read as one word, which may overlap the word before. */
static inline Py_ssize_t plain_ascii(const u8 *s, Py_ssize_t n)
{
    Py_ssize_t i = 0;
    if (n >= 8) {
        for (; i + 8 <= n; i += 8)
            if (!eight_plain(load8(s + i))) return i;
        if (i == n || eight_plain(load8(s + n - 8))) return n;
    } else if (n >= 4) {
        if (eight_plain(load4(s) | load4(s + n - 4) << 32)) return n;
    }
    for (; i < n && s[i] >= 0x20 && s[i] < 0x7F; i++) {}
    return i;
}

/* One code point of strict UTF-8 at s, its length in *size; -1 if the bytes are not UTF-8. */
static inline int32_t code_point(const u8 *s, const u8 *e, int *size)
{
    static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    u8 c = s[0];
    if (c < 0x80) { *size = 1; return c; }
    int n = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (!n || e - s < n) return -1;
    int32_t v = c & (0x7F >> n);
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return -1;
        v = v << 6 | (s[i] & 0x3F);
    }
    if (v < least[n] || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF)) return -1;
    *size = n;
    return v;
}

/* A str of checked text; `kind` is the result of the check. ASCII is copied, other text is decoded. */
static inline PyObject *new_text(const u8 *s, Py_ssize_t n, int kind)
{
    if (kind != TEXT_ASCII) return PyUnicode_DecodeUTF8((const char *)s, n, NULL);
    PyObject *o = PyUnicode_New(n, 127);
    if (o && n) memcpy(PyUnicode_1BYTE_DATA(o), s, (size_t)n);
    return o;
}

/* A cache of short texts, one for each hash value. Names repeat, and a cached object saves time and memory. Guarded by
   the interpreter lock. */
#define KNOWN_TEXTS 8192
#define KNOWN_BYTES 32
typedef struct { PyObject *o; uint64_t raw[KNOWN_BYTES / 8]; Py_ssize_t size; } KnownText;

/* The start of the state of every module. */
typedef struct {
    KnownText *known_texts;
    PyTypeObject *scanner_type;
} Shared;

static inline PyObject *known_text(const Shared *shared, const u8 *s, Py_ssize_t n, int kind)
{
    KnownText *known_texts = shared->known_texts;
    uint64_t raw[KNOWN_BYTES / 8] = {0};
    if (n > KNOWN_BYTES) return new_text(s, n, kind);
    memcpy(raw, s, (size_t)n);
    uint64_t h = raw[0] ^ raw[1] * 0x9E3779B97F4A7C15ULL ^ raw[2] * 0xC2B2AE3D27D4EB4FULL ^ raw[3] * 0x165667B19E3779F9ULL;
    h = (h ^ h >> 29) * 0x9E3779B97F4A7C15ULL;
    size_t at = (size_t)(h >> 40) % KNOWN_TEXTS;
    PyObject *o = known_texts[at].o;
    /* The length is compared too: texts that differ only in trailing NUL bytes have the same padded bytes. */
    if (!o || memcmp(known_texts[at].raw, raw, sizeof raw) || known_texts[at].size != n) {
        if (!(o = new_text(s, n, kind))) return NULL;
        memcpy(known_texts[at].raw, raw, sizeof raw);
        known_texts[at].size = (u8)n;
        Py_XSETREF(known_texts[at].o, o);
    }
    return Py_NewRef(o);
}

/* Calls a conversion of int with the keyword `signed`. Takes over both references, which may be NULL. */
static PyObject *call_signed(PyObject *method, PyObject *args, int is_signed)
{
    PyObject *kw = Py_BuildValue("{s:i}", "signed", is_signed), *result = NULL;
    if (method && args && kw) result = PyObject_Call(method, args, kw);
    Py_XDECREF(method); Py_XDECREF(args); Py_XDECREF(kw);
    return result;
}

static PyObject *new_wide_int(const u8 *s, Py_ssize_t n, int little, int is_signed)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)&PyLong_Type, "from_bytes");
    return call_signed(method, Py_BuildValue("(y#s)", (const char *)s, n, little ? "little" : "big"), is_signed);
}

#define NEW_FLOAT(SIZE) \
    static inline PyObject *new_float##SIZE(const u8 *s, int little) \
    { \
        double v = PyFloat_Unpack##SIZE((const char *)s, little); \
        return v == -1.0 && PyErr_Occurred() ? NULL : PyFloat_FromDouble(v); \
    }
NEW_FLOAT(2)
NEW_FLOAT(4)
NEW_FLOAT(8)

/* -- message classes: frozen classes with slots, which are read and written directly */

static Py_ssize_t slot_offset(PyObject *cls, const char *name)
{
    PyObject *d = PyObject_GetAttrString(cls, name);
    if (!d) return -1;
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(d, &PyMemberDescr_Type) && ((PyMemberDescrObject *)d)->d_member->type == T_OBJECT_EX)
        offset = ((PyMemberDescrObject *)d)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s is not a slot", name);
    Py_DECREF(d);
    return offset;
}

static int bind_class(
    PyObject *classes, const char *name, PyTypeObject **type, const char *const *fields, Py_ssize_t *offsets)
{
    Py_ssize_t count = 0;
    PyObject *cls = PyDict_GetItemString(classes, name);
    if (!cls || !PyType_Check(cls)) { PyErr_Format(PyExc_LookupError, "no class %s", name); return -1; }
    for (; fields[count]; count++)
        if ((offsets[count] = slot_offset(cls, fields[count])) < 0) return -1;
    /* Objects are not zeroed when they are made, so they must have no members other than the slots that are filled. */
    PyTypeObject *made = (PyTypeObject *)cls;
    if (made->tp_basicsize != (Py_ssize_t)(sizeof(PyObject) + (size_t)count * sizeof(PyObject *)) || made->tp_itemsize
        || (count && !PyType_IS_GC(made))) {
        PyErr_Format(PyExc_TypeError, "%s must have %zd slots and nothing else", name, count);
        return -1;
    }
    Py_INCREF(cls);
    Py_XSETREF(*type, (PyTypeObject *)cls);
    return 0;
}

static inline void set_slot(PyObject *o, Py_ssize_t offset, PyObject *value) { *(PyObject **)((char *)o + offset) = value; }
static inline PyObject *get_slot(PyObject *o, Py_ssize_t offset) { return *(PyObject **)((char *)o + offset); }

static inline PyObject *new_object(PyTypeObject *type)
{
    if (!type) return PyErr_Format(PyExc_RuntimeError, "the native codec is not bound");
    return PyType_IS_GC(type) ? (PyObject *)PyObject_GC_New(PyObject, type) : type->tp_alloc(type, 0);
}

static inline void track(PyObject *o) { if (PyType_IS_GC(Py_TYPE(o))) PyObject_GC_Track(o); }

/* -- a growing output */

/* Frames of at most this size are built on the stack. */
#define OUTPUT_BYTES 9216

typedef struct { u8 *base; Py_ssize_t size, room; u8 first[OUTPUT_BYTES]; } Output;

static void output_begin(Output *out) { out->base = out->first; out->size = 0; out->room = OUTPUT_BYTES; }

static void output_end(Output *out) { if (out->base != out->first) PyMem_Free(out->base); }

static int output_grow(Output *out, Py_ssize_t more)
{
    Py_ssize_t room = out->room * 2 + more;
    u8 *base = out->base == out->first ? PyMem_Malloc((size_t)room) : PyMem_Realloc(out->base, (size_t)room);
    if (!base) { PyErr_NoMemory(); return 0; }
    if (out->base == out->first) memcpy(base, out->first, (size_t)out->size);
    out->base = base;
    out->room = room;
    return 1;
}

static inline int reserve(Output *out, Py_ssize_t more)
{
    return out->room - out->size >= more || output_grow(out, more);
}

/* The UTF-8 of a str, which owns it; NULL if the object is not a str or has no UTF-8. */
static inline const u8 *get_text(PyObject *o, Py_ssize_t *n)
{
    if (!o || !PyUnicode_Check(o)) return NULL;
    if (PyUnicode_IS_COMPACT_ASCII(o)) { *n = PyUnicode_GET_LENGTH(o); return PyUnicode_1BYTE_DATA(o); }
    return (const u8 *)PyUnicode_AsUTF8AndSize(o, n);
}

static inline int get_int(PyObject *o, int64_t low, int64_t high, int64_t *v)
{
    if (!o || !PyLong_Check(o)) return 0;
#if PY_VERSION_HEX >= 0x030C0000
    if (PyUnstable_Long_IsCompact((PyLongObject *)o))
        *v = PyUnstable_Long_CompactValue((PyLongObject *)o);
#else
    if (Py_SIZE(o) == 1)
        *v = ((PyLongObject *)o)->ob_digit[0];
#endif
    else {
        int overflow = 0;
        *v = PyLong_AsLongLongAndOverflow(o, &overflow);
        if (overflow) return 0;
    }
    return *v >= low && *v <= high;
}

static int get_u64(PyObject *o, uint64_t low, uint64_t high, uint64_t *v)
{
    if (!o || !PyLong_Check(o)) return 0;
    *v = PyLong_AsUnsignedLongLong(o);
    if (*v == (uint64_t)-1 && PyErr_Occurred()) { PyErr_Clear(); return 0; }
    return *v >= low && *v <= high;
}

static int put_wide_int(u8 *to, PyObject *o, Py_ssize_t n, int little, int is_signed)
{
    if (!o || !PyLong_Check(o)) return 0;
    PyObject *args = Py_BuildValue("(ns)", n, little ? "little" : "big");
    PyObject *raw = call_signed(PyObject_GetAttrString(o, "to_bytes"), args, is_signed);
    if (!raw) { PyErr_Clear(); return 0; }
    memcpy(to, PyBytes_AS_STRING(raw), (size_t)n);
    Py_DECREF(raw);
    return 1;
}

/* -- the slow path: the pure function of the same frame raises the error

   `may_take` says that the pure function may accept what this codec refused. */

static PyObject *ask_pure(PyObject *pure, PyObject *argument, int may_take)
{
    if (PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError) || !PyErr_ExceptionMatches(PyExc_Exception)) return NULL;
        PyErr_Clear();
    }
    if (!pure) return PyErr_Format(PyExc_RuntimeError, "the native codec is not bound");
    Py_INCREF(pure); /* another thread may call bind() */
    PyObject *result = PyObject_CallOneArg(pure, argument);
    Py_DECREF(pure);
    if (!result || may_take) return result;
    Py_DECREF(result);
    return PyErr_Format(PyExc_RuntimeError, "the native codec refused what the pure one takes");
}

/* -- scanners: iterators that yield how many bytes they need, and return the size of the frame */

/* The module defines MODULE_NAME, and SCAN_VARIABLES: the largest number that one of its scanners needs. */
enum { SCAN_MORE, SCAN_DONE, SCAN_BAD };

typedef struct { int at; Py_ssize_t need; int64_t v[SCAN_VARIABLES]; } Scan;
typedef int (*ScanFunction)(const u8 *, Py_ssize_t, Scan *);

typedef struct {
    PyObject_HEAD
    PyObject *data;
    ScanFunction function;
    size_t pure; /* the offset of the pure scanner in the state of the module */
    Scan state;
    int ended;
} Scanner;

static void scanner_dealloc(Scanner *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(self->data);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* For a bad frame: the pure scanner of the same frame, over the same data, raises the error. */
static PyObject *scanner_fail(Scanner *self)
{
    char *state = PyType_GetModuleState(Py_TYPE(self)); /* lives as long as the type, which the scanner owns */
    PyObject *pure = ask_pure(state ? *(PyObject **)(state + self->pure) : NULL, self->data, 1);
    if (!pure) return NULL;
    PyObject *need = PyIter_Next(pure);
    Py_DECREF(pure);
    if (need || !PyErr_Occurred()) {
        Py_XDECREF(need);
        PyErr_SetString(PyExc_RuntimeError, "the native scanner refused what the pure one takes");
    }
    return NULL;
}

static PyObject *scanner_next(Scanner *self)
{
    Py_buffer view;
    if (self->ended) return NULL;
    if (PyObject_GetBuffer(self->data, &view, PyBUF_SIMPLE) < 0) return NULL;
    int found = self->function(view.buf, view.len, &self->state);
    PyBuffer_Release(&view);
    if (found == SCAN_MORE) return PyLong_FromSsize_t(self->state.need);
    self->ended = 1;
    if (found == SCAN_BAD) return scanner_fail(self);
    PyObject *size = PyLong_FromSsize_t(self->state.need);
    if (size) { PyErr_SetObject(PyExc_StopIteration, size); Py_DECREF(size); }
    return NULL;
}

static PyType_Slot scanner_slots[] = {
    {Py_tp_dealloc, scanner_dealloc}, {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, scanner_next}, {0, NULL}};
static PyType_Spec scanner_spec = {
    MODULE_NAME ".Scanner", sizeof(Scanner), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, scanner_slots};

static PyObject *new_scanner(const Shared *shared, PyObject *data, ScanFunction function, size_t pure)
{
    PyTypeObject *type = shared->scanner_type;
    if (!type) return PyErr_Format(PyExc_RuntimeError, "the native codec is not bound");
    Scanner *self = (Scanner *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    Py_INCREF(data);
    self->data = data;
    self->function = function;
    self->pure = pure;
    return (PyObject *)self;
}

/* -- the state of a module */

/* Fills the start of a zeroed state; returns -1 with an error set, else 0. */
static int shared_begin(Shared *shared, PyObject *module)
{
    /* calloc does not touch the pages, so those that are never used take no memory. */
    if (!(shared->known_texts = PyMem_RawCalloc(KNOWN_TEXTS, sizeof(KnownText)))) { PyErr_NoMemory(); return -1; }
    shared->scanner_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &scanner_spec, NULL);
    return shared->scanner_type ? 0 : -1;
}

static void shared_end(Shared *shared)
{
    if (!shared->known_texts) return;
    for (size_t at = 0; at < KNOWN_TEXTS; at++) Py_XDECREF(shared->known_texts[at].o);
    PyMem_RawFree(shared->known_texts);
    shared->known_texts = NULL;
}
