/* The hot path in C. Generated from bets_protocol.schema by `nox -s generate`: do not edit. */

#define MODULE_NAME "bets_protocol.generated._native"
#define SCAN_VARIABLES 3
#include "runtime.h"

typedef struct {
    Shared shared;
    PyTypeObject *type_Bet;
    Py_ssize_t slots_Bet[6];
    PyTypeObject *type_BetBatch;
    Py_ssize_t slots_BetBatch[1];
    PyTypeObject *type_Winners;
    Py_ssize_t slots_Winners[1];
    PyObject *pure_check_bet_frame;
    PyObject *pure_decode_bet_frame;
    PyObject *pure_encode_bet_frame;
    PyObject *pure_scan_bet_frame;
    PyObject *pure_check_untyped_batch;
    PyObject *pure_decode_untyped_batch;
    PyObject *pure_encode_untyped_batch;
    PyObject *pure_scan_untyped_batch;
    PyObject *pure_check_bet_batch;
    PyObject *pure_decode_bet_batch;
    PyObject *pure_encode_bet_batch;
    PyObject *pure_scan_bet_batch;
    PyObject *pure_check_winners;
    PyObject *pure_decode_winners;
    PyObject *pure_encode_winners;
    PyObject *pure_scan_winners;
} State;

static const char *const names_Bet[] = {"\141\147\145\156\143\171", "\146\151\162\163\164\137\156\141\155\145", "\154\141\163\164\137\156\141\155\145", "\144\157\143\165\155\145\156\164", "\142\151\162\164\150\144\141\164\145", "\156\165\155\142\145\162", NULL};
static const char *const names_BetBatch[] = {"\142\145\164\163", NULL};
static const char *const names_Winners[] = {"\144\157\143\165\155\145\156\164\163", NULL};

static inline int is_text_0(const u8 *s, Py_ssize_t n)
{
    if (n < 1) return TEXT_BAD;
    const u8 *e = s + n;
    s += plain_ascii(s, n);
    int kind = TEXT_ASCII;
    while (s < e) {
        int size = 1;
        int32_t c = code_point(s, e, &size);
        if (c < 0 || (c <= 31) || (c >= 127 && c <= 159)) return TEXT_BAD;
        if (c > 0x7F) kind = TEXT_WIDE;
        s += size;
    }
    return kind;
}

static inline int is_text_1(const u8 *s, Py_ssize_t n)
{
    return all_digits(s, n) ? TEXT_ASCII : TEXT_BAD;
}

static inline int is_text_2(const u8 *s, Py_ssize_t n)
{
    return is_date(s, n) ? TEXT_ASCII : TEXT_BAD;
}


static int check_bet_frame(const u8 *p, Py_ssize_t n)
{
    const u8 *e = p + n;
    if ((size_t)(e - p) < (size_t)(2)) return 0;
    uint32_t v1 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v1;
    p += 2;
    if ((size_t)(e - p) < (size_t)(v1)) return 0;
    const u8 *e2 = p + v1;
    if ((size_t)(e2 - p) < (size_t)(2)) return 0;
    uint32_t v3 = p[0];
    (void)v3;
    if (!(v3 >= 1U)) return 0;
    p += 1;
    uint32_t v4 = p[0];
    (void)v4;
    p += 1;
    if ((size_t)(e2 - p) < (size_t)(v4)) return 0;
    int k5 = is_text_0(p, (Py_ssize_t)v4);
    if (!(k5)) return 0;
    p += v4;
    if ((size_t)(e2 - p) < (size_t)(1)) return 0;
    uint32_t v6 = p[0];
    (void)v6;
    p += 1;
    if ((size_t)(e2 - p) < (size_t)(v6)) return 0;
    int k7 = is_text_0(p, (Py_ssize_t)v6);
    if (!(k7)) return 0;
    p += v6;
    if ((size_t)(e2 - p) < (size_t)(20)) return 0;
    int k8 = is_text_1(p, (Py_ssize_t)8);
    if (!(k8)) return 0;
    p += 8;
    int k9 = is_text_2(p, (Py_ssize_t)10);
    if (!(k9)) return 0;
    p += 10;
    uint32_t v10 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v10;
    if (!(v10 <= 9999U)) return 0;
    p += 2;
    if (!(p == e2)) return 0;
    return p == e;
}

static PyObject *py_check_bet_frame(PyObject *module, PyObject *data)
{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_bet_frame, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {
        Py_BEGIN_ALLOW_THREADS
        ok = check_bet_frame(p, n);
        Py_END_ALLOW_THREADS
    } else
        ok = check_bet_frame(p, n);
    if (!ok) return ask_pure(state->pure_check_bet_frame, data, 0);
    Py_RETURN_NONE;
}


static PyObject *py_decode_bet_frame(PyObject *module, PyObject *data)
{
    PyObject *o[7] = {NULL};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_bet_frame, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
    if ((size_t)(e - p) < (size_t)(2)) goto bad;
    uint32_t v1 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v1;
    p += 2;
    if ((size_t)(e - p) < (size_t)(v1)) goto bad;
    const u8 *e2 = p + v1;
    if ((size_t)(e2 - p) < (size_t)(2)) goto bad;
    uint32_t v3 = p[0];
    (void)v3;
    if (!(v3 >= 1U)) goto bad;
    if (!(o[0] = PyLong_FromLong((long)v3))) goto bad;
    p += 1;
    uint32_t v4 = p[0];
    (void)v4;
    p += 1;
    if ((size_t)(e2 - p) < (size_t)(v4)) goto bad;
    int k5 = is_text_0(p, (Py_ssize_t)v4);
    if (!(k5)) goto bad;
    if (!(o[1] = known_text(&state->shared, p, (Py_ssize_t)v4, k5))) goto bad;
    p += v4;
    if ((size_t)(e2 - p) < (size_t)(1)) goto bad;
    uint32_t v6 = p[0];
    (void)v6;
    p += 1;
    if ((size_t)(e2 - p) < (size_t)(v6)) goto bad;
    int k7 = is_text_0(p, (Py_ssize_t)v6);
    if (!(k7)) goto bad;
    if (!(o[2] = known_text(&state->shared, p, (Py_ssize_t)v6, k7))) goto bad;
    p += v6;
    if ((size_t)(e2 - p) < (size_t)(20)) goto bad;
    int k8 = is_text_1(p, (Py_ssize_t)8);
    if (!(k8)) goto bad;
    if (!(o[3] = new_text(p, (Py_ssize_t)8, k8))) goto bad;
    p += 8;
    int k9 = is_text_2(p, (Py_ssize_t)10);
    if (!(k9)) goto bad;
    if (!(o[4] = new_text(p, (Py_ssize_t)10, k9))) goto bad;
    p += 10;
    uint32_t v10 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v10;
    if (!(v10 <= 9999U)) goto bad;
    if (!(o[5] = PyLong_FromLong((long)v10))) goto bad;
    p += 2;
    if (!(o[6] = new_object(state->type_Bet))) goto bad;
    set_slot(o[6], state->slots_Bet[0], o[0]); o[0] = NULL;
    set_slot(o[6], state->slots_Bet[1], o[1]); o[1] = NULL;
    set_slot(o[6], state->slots_Bet[2], o[2]); o[2] = NULL;
    set_slot(o[6], state->slots_Bet[3], o[3]); o[3] = NULL;
    set_slot(o[6], state->slots_Bet[4], o[4]); o[4] = NULL;
    set_slot(o[6], state->slots_Bet[5], o[5]); o[5] = NULL;
    if (!(p == e2)) goto bad;
    if (p == e) return o[6];
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_bet_frame, data, 0);
}


static int put_frame_bet_frame(const State *state, Output *out, PyObject *message)
{
    (void)state;
    if (!(reserve(out, 535))) return 0;
     {
        u8 *w1 = out->base + out->size;
        w1 += 2;
        Py_ssize_t s2 = w1 - out->base;
        PyObject *r4 = message;
        if (!(r4 && Py_IS_TYPE(r4, state->type_Bet))) return 0;
        PyObject *f5 = get_slot(r4, state->slots_Bet[0]);
        int64_t v6 = 0;
        if (!(get_int(f5, 1U, 255U, &v6))) return 0;
        put_be(w1, 1, (uint64_t)v6);
        w1 += 1;
        PyObject *f7 = get_slot(r4, state->slots_Bet[1]);
        Py_ssize_t n8 = 0;
        const u8 *t9 = get_text(f7, &n8);
        if (!(t9 && is_text_0(t9, n8))) return 0;
        if (!(n8 >= 0 && n8 <= 255)) return 0;
        put_be(w1, 1, (uint64_t)n8);
        w1 += 1;
        memcpy(w1, t9, (size_t)n8);
        w1 += n8;
        PyObject *f10 = get_slot(r4, state->slots_Bet[2]);
        Py_ssize_t n11 = 0;
        const u8 *t12 = get_text(f10, &n11);
        if (!(t12 && is_text_0(t12, n11))) return 0;
        if (!(n11 >= 0 && n11 <= 255)) return 0;
        put_be(w1, 1, (uint64_t)n11);
        w1 += 1;
        memcpy(w1, t12, (size_t)n11);
        w1 += n11;
        PyObject *f13 = get_slot(r4, state->slots_Bet[3]);
        Py_ssize_t n14 = 0;
        const u8 *t15 = get_text(f13, &n14);
        if (!(t15 && is_text_1(t15, n14))) return 0;
        if (!(n14 == 8)) return 0;
        memcpy(w1, t15, (size_t)8);
        w1 += 8;
        PyObject *f16 = get_slot(r4, state->slots_Bet[4]);
        Py_ssize_t n17 = 0;
        const u8 *t18 = get_text(f16, &n17);
        if (!(t18 && is_text_2(t18, n17))) return 0;
        if (!(n17 == 10)) return 0;
        memcpy(w1, t18, (size_t)10);
        w1 += 10;
        PyObject *f19 = get_slot(r4, state->slots_Bet[5]);
        int64_t v20 = 0;
        if (!(get_int(f19, 0U, 9999U, &v20))) return 0;
        put_be(w1, 2, (uint64_t)v20);
        w1 += 2;
        Py_ssize_t n3 = w1 - out->base - s2;
        if (!(n3 >= 25 && n3 <= 533)) return 0;
        put_be((out->base + s2 - 2), 2, (uint64_t)n3);
        out->size = w1 - out->base;
    }
    return 1;
}

static PyObject *py_encode_bet_frame(PyObject *module, PyObject *message)
{
    Output out;
    PyObject *result = NULL;
    const State *state = PyModule_GetState(module);
    output_begin(&out);
    int ok = put_frame_bet_frame(state, &out, message);
    if (ok) result = PyBytes_FromStringAndSize((const char *)out.base, out.size);
    output_end(&out);
    return ok ? result : ask_pure(state->pure_encode_bet_frame, message, 1);
}


static int scan_bet_frame(const u8 *d, Py_ssize_t n, Scan *s)
{
    switch (s->at) {
    case 0:
    s->need = (Py_ssize_t)s->v[0] + 2;
    /* fall through */ case 1:
    if (n < s->need) { s->at = 1; return SCAN_MORE; }
    if ((uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) > 533ULL || (uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) < 25ULL) return SCAN_BAD;
    s->v[0] += 2 + (int64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]);
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 2:
    if (n < s->need) { s->at = 2; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    return SCAN_DONE;
    }
    return SCAN_BAD;
}

static PyObject *py_scan_bet_frame(PyObject *module, PyObject *data)
{
    const State *state = PyModule_GetState(module);
    if (!PyByteArray_Check(data) && !PyBytes_Check(data)) return ask_pure(state->pure_scan_bet_frame, data, 1);
    return new_scanner(&state->shared, data, scan_bet_frame, offsetof(State, pure_scan_bet_frame));
}


static int check_untyped_batch(const u8 *p, Py_ssize_t n)
{
    const u8 *e = p + n;
    const u8 *s1 = p;
    if ((size_t)(e - p) < (size_t)(1)) return 0;
    uint32_t v2 = p[0];
    (void)v2;
    if (!(v2 >= 1U)) return 0;
    p += 1;
    if (!((uint64_t)v2 <= (uint64_t)(e - p) / 27)) return 0;
    for (Py_ssize_t i3 = 0; i3 < (Py_ssize_t)v2; i3++) {
        if ((size_t)(e - p) < (size_t)(2)) return 0;
        uint32_t v4 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v4;
        p += 2;
        if ((size_t)(e - p) < (size_t)(v4)) return 0;
        const u8 *e5 = p + v4;
        if ((size_t)(e5 - p) < (size_t)(2)) return 0;
        uint32_t v6 = p[0];
        (void)v6;
        if (!(v6 >= 1U)) return 0;
        p += 1;
        uint32_t v7 = p[0];
        (void)v7;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v7)) return 0;
        int k8 = is_text_0(p, (Py_ssize_t)v7);
        if (!(k8)) return 0;
        p += v7;
        if ((size_t)(e5 - p) < (size_t)(1)) return 0;
        uint32_t v9 = p[0];
        (void)v9;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v9)) return 0;
        int k10 = is_text_0(p, (Py_ssize_t)v9);
        if (!(k10)) return 0;
        p += v9;
        if ((size_t)(e5 - p) < (size_t)(20)) return 0;
        int k11 = is_text_1(p, (Py_ssize_t)8);
        if (!(k11)) return 0;
        p += 8;
        int k12 = is_text_2(p, (Py_ssize_t)10);
        if (!(k12)) return 0;
        p += 10;
        uint32_t v13 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v13;
        if (!(v13 <= 9999U)) return 0;
        p += 2;
        if (!(p == e5)) return 0;
    }
    if (!(p - s1 <= 8192)) return 0;
    return p == e;
}

static PyObject *py_check_untyped_batch(PyObject *module, PyObject *data)
{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_untyped_batch, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {
        Py_BEGIN_ALLOW_THREADS
        ok = check_untyped_batch(p, n);
        Py_END_ALLOW_THREADS
    } else
        ok = check_untyped_batch(p, n);
    if (!ok) return ask_pure(state->pure_check_untyped_batch, data, 0);
    Py_RETURN_NONE;
}


static PyObject *py_decode_untyped_batch(PyObject *module, PyObject *data)
{
    PyObject *o[9] = {NULL};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_untyped_batch, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
    const u8 *s1 = p;
    if ((size_t)(e - p) < (size_t)(1)) goto bad;
    uint32_t v2 = p[0];
    (void)v2;
    if (!(v2 >= 1U)) goto bad;
    p += 1;
    if (!((uint64_t)v2 <= (uint64_t)(e - p) / 27)) goto bad;
    if (!(o[0] = PyTuple_New((Py_ssize_t)v2))) goto bad;
    for (Py_ssize_t i3 = 0; i3 < (Py_ssize_t)v2; i3++) {
        if ((size_t)(e - p) < (size_t)(2)) goto bad;
        uint32_t v4 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v4;
        p += 2;
        if ((size_t)(e - p) < (size_t)(v4)) goto bad;
        const u8 *e5 = p + v4;
        if ((size_t)(e5 - p) < (size_t)(2)) goto bad;
        uint32_t v6 = p[0];
        (void)v6;
        if (!(v6 >= 1U)) goto bad;
        if (!(o[1] = PyLong_FromLong((long)v6))) goto bad;
        p += 1;
        uint32_t v7 = p[0];
        (void)v7;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v7)) goto bad;
        int k8 = is_text_0(p, (Py_ssize_t)v7);
        if (!(k8)) goto bad;
        if (!(o[2] = known_text(&state->shared, p, (Py_ssize_t)v7, k8))) goto bad;
        p += v7;
        if ((size_t)(e5 - p) < (size_t)(1)) goto bad;
        uint32_t v9 = p[0];
        (void)v9;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v9)) goto bad;
        int k10 = is_text_0(p, (Py_ssize_t)v9);
        if (!(k10)) goto bad;
        if (!(o[3] = known_text(&state->shared, p, (Py_ssize_t)v9, k10))) goto bad;
        p += v9;
        if ((size_t)(e5 - p) < (size_t)(20)) goto bad;
        int k11 = is_text_1(p, (Py_ssize_t)8);
        if (!(k11)) goto bad;
        if (!(o[4] = new_text(p, (Py_ssize_t)8, k11))) goto bad;
        p += 8;
        int k12 = is_text_2(p, (Py_ssize_t)10);
        if (!(k12)) goto bad;
        if (!(o[5] = new_text(p, (Py_ssize_t)10, k12))) goto bad;
        p += 10;
        uint32_t v13 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v13;
        if (!(v13 <= 9999U)) goto bad;
        if (!(o[6] = PyLong_FromLong((long)v13))) goto bad;
        p += 2;
        if (!(o[7] = new_object(state->type_Bet))) goto bad;
        set_slot(o[7], state->slots_Bet[0], o[1]); o[1] = NULL;
        set_slot(o[7], state->slots_Bet[1], o[2]); o[2] = NULL;
        set_slot(o[7], state->slots_Bet[2], o[3]); o[3] = NULL;
        set_slot(o[7], state->slots_Bet[3], o[4]); o[4] = NULL;
        set_slot(o[7], state->slots_Bet[4], o[5]); o[5] = NULL;
        set_slot(o[7], state->slots_Bet[5], o[6]); o[6] = NULL;
        if (!(p == e5)) goto bad;
        PyTuple_SET_ITEM(o[0], i3, o[7]); o[7] = NULL;
    }
    if (!(o[8] = new_object(state->type_BetBatch))) goto bad;
    set_slot(o[8], state->slots_BetBatch[0], o[0]); o[0] = NULL;
    track(o[8]);
    if (!(p - s1 <= 8192)) goto bad;
    if (p == e) return o[8];
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_untyped_batch, data, 0);
}


static int put_frame_untyped_batch(const State *state, Output *out, PyObject *message)
{
    (void)state;
    Py_ssize_t s1 = out->size;
    PyObject *r2 = message;
    if (!(r2 && Py_IS_TYPE(r2, state->type_BetBatch))) return 0;
    PyObject *f3 = get_slot(r2, state->slots_BetBatch[0]);
    if (!(f3 && (PyTuple_Check(f3) || PyList_Check(f3)))) return 0;
    PyObject **a4 = PySequence_Fast_ITEMS(f3);
    Py_ssize_t n5 = PySequence_Fast_GET_SIZE(f3);
    if (!(n5 >= 1 && n5 <= 255)) return 0;
    if (!(reserve(out, 1))) return 0;
    put_be((out->base + out->size), 1, (uint64_t)n5);
    out->size += 1;
    for (Py_ssize_t i6 = 0; i6 < n5; i6++) {
        if (!(reserve(out, 535))) return 0;
         {
            u8 *w7 = out->base + out->size;
            w7 += 2;
            Py_ssize_t s8 = w7 - out->base;
            PyObject *r10 = a4[i6];
            if (!(r10 && Py_IS_TYPE(r10, state->type_Bet))) return 0;
            PyObject *f11 = get_slot(r10, state->slots_Bet[0]);
            int64_t v12 = 0;
            if (!(get_int(f11, 1U, 255U, &v12))) return 0;
            put_be(w7, 1, (uint64_t)v12);
            w7 += 1;
            PyObject *f13 = get_slot(r10, state->slots_Bet[1]);
            Py_ssize_t n14 = 0;
            const u8 *t15 = get_text(f13, &n14);
            if (!(t15 && is_text_0(t15, n14))) return 0;
            if (!(n14 >= 0 && n14 <= 255)) return 0;
            put_be(w7, 1, (uint64_t)n14);
            w7 += 1;
            memcpy(w7, t15, (size_t)n14);
            w7 += n14;
            PyObject *f16 = get_slot(r10, state->slots_Bet[2]);
            Py_ssize_t n17 = 0;
            const u8 *t18 = get_text(f16, &n17);
            if (!(t18 && is_text_0(t18, n17))) return 0;
            if (!(n17 >= 0 && n17 <= 255)) return 0;
            put_be(w7, 1, (uint64_t)n17);
            w7 += 1;
            memcpy(w7, t18, (size_t)n17);
            w7 += n17;
            PyObject *f19 = get_slot(r10, state->slots_Bet[3]);
            Py_ssize_t n20 = 0;
            const u8 *t21 = get_text(f19, &n20);
            if (!(t21 && is_text_1(t21, n20))) return 0;
            if (!(n20 == 8)) return 0;
            memcpy(w7, t21, (size_t)8);
            w7 += 8;
            PyObject *f22 = get_slot(r10, state->slots_Bet[4]);
            Py_ssize_t n23 = 0;
            const u8 *t24 = get_text(f22, &n23);
            if (!(t24 && is_text_2(t24, n23))) return 0;
            if (!(n23 == 10)) return 0;
            memcpy(w7, t24, (size_t)10);
            w7 += 10;
            PyObject *f25 = get_slot(r10, state->slots_Bet[5]);
            int64_t v26 = 0;
            if (!(get_int(f25, 0U, 9999U, &v26))) return 0;
            put_be(w7, 2, (uint64_t)v26);
            w7 += 2;
            Py_ssize_t n9 = w7 - out->base - s8;
            if (!(n9 >= 25 && n9 <= 533)) return 0;
            put_be((out->base + s8 - 2), 2, (uint64_t)n9);
            out->size = w7 - out->base;
        }
    }
    if (!(out->size - s1 <= 8192)) return 0;
    return 1;
}

static PyObject *py_encode_untyped_batch(PyObject *module, PyObject *message)
{
    Output out;
    PyObject *result = NULL;
    const State *state = PyModule_GetState(module);
    output_begin(&out);
    int ok = put_frame_untyped_batch(state, &out, message);
    if (ok) result = PyBytes_FromStringAndSize((const char *)out.base, out.size);
    output_end(&out);
    return ok ? result : ask_pure(state->pure_encode_untyped_batch, message, 1);
}


static int scan_untyped_batch(const u8 *d, Py_ssize_t n, Scan *s)
{
    switch (s->at) {
    case 0:
    s->v[1] = s->v[0] + 0;
    s->v[2] = 0;
    if (s->v[0] + 1 > s->v[1] + 8192) return SCAN_BAD;
    s->need = (Py_ssize_t)s->v[0] + 1;
    /* fall through */ case 1:
    if (n < s->need) { s->at = 1; return SCAN_MORE; }
    if ((uint64_t)(d + s->v[0] + 0)[0] > 255ULL || (uint64_t)(d + s->v[0] + 0)[0] < 1ULL) return SCAN_BAD;
    s->v[2] = (int64_t)(d + s->v[0] + 0)[0];
    s->v[0] += 1;
    for (; s->v[2] > 0; s->v[2]--) {
        if (s->v[0] + 2 > s->v[1] + 8192) return SCAN_BAD;
        s->need = (Py_ssize_t)s->v[0] + 2;
        /* fall through */ case 2:
        if (n < s->need) { s->at = 2; return SCAN_MORE; }
        if ((uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) > 533ULL || (uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) < 25ULL) return SCAN_BAD;
        s->v[0] += 2 + (int64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]);
        if (s->v[0] + 0 > s->v[1] + 8192) return SCAN_BAD;
        s->need = (Py_ssize_t)s->v[0] + 0;
        /* fall through */ case 3:
        if (n < s->need) { s->at = 3; return SCAN_MORE; }
    }
    if (s->v[0] + 0 > s->v[1] + 8192) return SCAN_BAD;
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 4:
    if (n < s->need) { s->at = 4; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 5:
    if (n < s->need) { s->at = 5; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    return SCAN_DONE;
    }
    return SCAN_BAD;
}

static PyObject *py_scan_untyped_batch(PyObject *module, PyObject *data)
{
    const State *state = PyModule_GetState(module);
    if (!PyByteArray_Check(data) && !PyBytes_Check(data)) return ask_pure(state->pure_scan_untyped_batch, data, 1);
    return new_scanner(&state->shared, data, scan_untyped_batch, offsetof(State, pure_scan_untyped_batch));
}


static int check_bet_batch(const u8 *p, Py_ssize_t n)
{
    const u8 *e = p + n;
    const u8 *s1 = p;
    if ((size_t)(e - p) < (size_t)(1)) return 0;
    if (memcmp(p, "\001", 1)) return 0;
    p += 1;
    if ((size_t)(e - p) < (size_t)(1)) return 0;
    uint32_t v2 = p[0];
    (void)v2;
    if (!(v2 >= 1U)) return 0;
    p += 1;
    if (!((uint64_t)v2 <= (uint64_t)(e - p) / 27)) return 0;
    for (Py_ssize_t i3 = 0; i3 < (Py_ssize_t)v2; i3++) {
        if ((size_t)(e - p) < (size_t)(2)) return 0;
        uint32_t v4 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v4;
        p += 2;
        if ((size_t)(e - p) < (size_t)(v4)) return 0;
        const u8 *e5 = p + v4;
        if ((size_t)(e5 - p) < (size_t)(2)) return 0;
        uint32_t v6 = p[0];
        (void)v6;
        if (!(v6 >= 1U)) return 0;
        p += 1;
        uint32_t v7 = p[0];
        (void)v7;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v7)) return 0;
        int k8 = is_text_0(p, (Py_ssize_t)v7);
        if (!(k8)) return 0;
        p += v7;
        if ((size_t)(e5 - p) < (size_t)(1)) return 0;
        uint32_t v9 = p[0];
        (void)v9;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v9)) return 0;
        int k10 = is_text_0(p, (Py_ssize_t)v9);
        if (!(k10)) return 0;
        p += v9;
        if ((size_t)(e5 - p) < (size_t)(20)) return 0;
        int k11 = is_text_1(p, (Py_ssize_t)8);
        if (!(k11)) return 0;
        p += 8;
        int k12 = is_text_2(p, (Py_ssize_t)10);
        if (!(k12)) return 0;
        p += 10;
        uint32_t v13 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v13;
        if (!(v13 <= 9999U)) return 0;
        p += 2;
        if (!(p == e5)) return 0;
    }
    if (!(p - s1 <= 8192)) return 0;
    return p == e;
}

static PyObject *py_check_bet_batch(PyObject *module, PyObject *data)
{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_bet_batch, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {
        Py_BEGIN_ALLOW_THREADS
        ok = check_bet_batch(p, n);
        Py_END_ALLOW_THREADS
    } else
        ok = check_bet_batch(p, n);
    if (!ok) return ask_pure(state->pure_check_bet_batch, data, 0);
    Py_RETURN_NONE;
}


static PyObject *py_decode_bet_batch(PyObject *module, PyObject *data)
{
    PyObject *o[9] = {NULL};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_bet_batch, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
    const u8 *s1 = p;
    if ((size_t)(e - p) < (size_t)(1)) goto bad;
    if (memcmp(p, "\001", 1)) goto bad;
    p += 1;
    if ((size_t)(e - p) < (size_t)(1)) goto bad;
    uint32_t v2 = p[0];
    (void)v2;
    if (!(v2 >= 1U)) goto bad;
    p += 1;
    if (!((uint64_t)v2 <= (uint64_t)(e - p) / 27)) goto bad;
    if (!(o[0] = PyTuple_New((Py_ssize_t)v2))) goto bad;
    for (Py_ssize_t i3 = 0; i3 < (Py_ssize_t)v2; i3++) {
        if ((size_t)(e - p) < (size_t)(2)) goto bad;
        uint32_t v4 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v4;
        p += 2;
        if ((size_t)(e - p) < (size_t)(v4)) goto bad;
        const u8 *e5 = p + v4;
        if ((size_t)(e5 - p) < (size_t)(2)) goto bad;
        uint32_t v6 = p[0];
        (void)v6;
        if (!(v6 >= 1U)) goto bad;
        if (!(o[1] = PyLong_FromLong((long)v6))) goto bad;
        p += 1;
        uint32_t v7 = p[0];
        (void)v7;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v7)) goto bad;
        int k8 = is_text_0(p, (Py_ssize_t)v7);
        if (!(k8)) goto bad;
        if (!(o[2] = known_text(&state->shared, p, (Py_ssize_t)v7, k8))) goto bad;
        p += v7;
        if ((size_t)(e5 - p) < (size_t)(1)) goto bad;
        uint32_t v9 = p[0];
        (void)v9;
        p += 1;
        if ((size_t)(e5 - p) < (size_t)(v9)) goto bad;
        int k10 = is_text_0(p, (Py_ssize_t)v9);
        if (!(k10)) goto bad;
        if (!(o[3] = known_text(&state->shared, p, (Py_ssize_t)v9, k10))) goto bad;
        p += v9;
        if ((size_t)(e5 - p) < (size_t)(20)) goto bad;
        int k11 = is_text_1(p, (Py_ssize_t)8);
        if (!(k11)) goto bad;
        if (!(o[4] = new_text(p, (Py_ssize_t)8, k11))) goto bad;
        p += 8;
        int k12 = is_text_2(p, (Py_ssize_t)10);
        if (!(k12)) goto bad;
        if (!(o[5] = new_text(p, (Py_ssize_t)10, k12))) goto bad;
        p += 10;
        uint32_t v13 = ((uint32_t)p[0] << 8 | p[1]);
        (void)v13;
        if (!(v13 <= 9999U)) goto bad;
        if (!(o[6] = PyLong_FromLong((long)v13))) goto bad;
        p += 2;
        if (!(o[7] = new_object(state->type_Bet))) goto bad;
        set_slot(o[7], state->slots_Bet[0], o[1]); o[1] = NULL;
        set_slot(o[7], state->slots_Bet[1], o[2]); o[2] = NULL;
        set_slot(o[7], state->slots_Bet[2], o[3]); o[3] = NULL;
        set_slot(o[7], state->slots_Bet[3], o[4]); o[4] = NULL;
        set_slot(o[7], state->slots_Bet[4], o[5]); o[5] = NULL;
        set_slot(o[7], state->slots_Bet[5], o[6]); o[6] = NULL;
        if (!(p == e5)) goto bad;
        PyTuple_SET_ITEM(o[0], i3, o[7]); o[7] = NULL;
    }
    if (!(o[8] = new_object(state->type_BetBatch))) goto bad;
    set_slot(o[8], state->slots_BetBatch[0], o[0]); o[0] = NULL;
    track(o[8]);
    if (!(p - s1 <= 8192)) goto bad;
    if (p == e) return o[8];
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_bet_batch, data, 0);
}


static int put_frame_bet_batch(const State *state, Output *out, PyObject *message)
{
    (void)state;
    Py_ssize_t s1 = out->size;
    PyObject *r2 = message;
    if (!(r2 && Py_IS_TYPE(r2, state->type_BetBatch))) return 0;
    if (!(reserve(out, 1))) return 0;
     {
        u8 *w3 = out->base + out->size;
        memcpy(w3, "\001", (size_t)1);
        w3 += 1;
        out->size = w3 - out->base;
    }
    PyObject *f4 = get_slot(r2, state->slots_BetBatch[0]);
    if (!(f4 && (PyTuple_Check(f4) || PyList_Check(f4)))) return 0;
    PyObject **a5 = PySequence_Fast_ITEMS(f4);
    Py_ssize_t n6 = PySequence_Fast_GET_SIZE(f4);
    if (!(n6 >= 1 && n6 <= 255)) return 0;
    if (!(reserve(out, 1))) return 0;
    put_be((out->base + out->size), 1, (uint64_t)n6);
    out->size += 1;
    for (Py_ssize_t i7 = 0; i7 < n6; i7++) {
        if (!(reserve(out, 535))) return 0;
         {
            u8 *w8 = out->base + out->size;
            w8 += 2;
            Py_ssize_t s9 = w8 - out->base;
            PyObject *r11 = a5[i7];
            if (!(r11 && Py_IS_TYPE(r11, state->type_Bet))) return 0;
            PyObject *f12 = get_slot(r11, state->slots_Bet[0]);
            int64_t v13 = 0;
            if (!(get_int(f12, 1U, 255U, &v13))) return 0;
            put_be(w8, 1, (uint64_t)v13);
            w8 += 1;
            PyObject *f14 = get_slot(r11, state->slots_Bet[1]);
            Py_ssize_t n15 = 0;
            const u8 *t16 = get_text(f14, &n15);
            if (!(t16 && is_text_0(t16, n15))) return 0;
            if (!(n15 >= 0 && n15 <= 255)) return 0;
            put_be(w8, 1, (uint64_t)n15);
            w8 += 1;
            memcpy(w8, t16, (size_t)n15);
            w8 += n15;
            PyObject *f17 = get_slot(r11, state->slots_Bet[2]);
            Py_ssize_t n18 = 0;
            const u8 *t19 = get_text(f17, &n18);
            if (!(t19 && is_text_0(t19, n18))) return 0;
            if (!(n18 >= 0 && n18 <= 255)) return 0;
            put_be(w8, 1, (uint64_t)n18);
            w8 += 1;
            memcpy(w8, t19, (size_t)n18);
            w8 += n18;
            PyObject *f20 = get_slot(r11, state->slots_Bet[3]);
            Py_ssize_t n21 = 0;
            const u8 *t22 = get_text(f20, &n21);
            if (!(t22 && is_text_1(t22, n21))) return 0;
            if (!(n21 == 8)) return 0;
            memcpy(w8, t22, (size_t)8);
            w8 += 8;
            PyObject *f23 = get_slot(r11, state->slots_Bet[4]);
            Py_ssize_t n24 = 0;
            const u8 *t25 = get_text(f23, &n24);
            if (!(t25 && is_text_2(t25, n24))) return 0;
            if (!(n24 == 10)) return 0;
            memcpy(w8, t25, (size_t)10);
            w8 += 10;
            PyObject *f26 = get_slot(r11, state->slots_Bet[5]);
            int64_t v27 = 0;
            if (!(get_int(f26, 0U, 9999U, &v27))) return 0;
            put_be(w8, 2, (uint64_t)v27);
            w8 += 2;
            Py_ssize_t n10 = w8 - out->base - s9;
            if (!(n10 >= 25 && n10 <= 533)) return 0;
            put_be((out->base + s9 - 2), 2, (uint64_t)n10);
            out->size = w8 - out->base;
        }
    }
    if (!(out->size - s1 <= 8192)) return 0;
    return 1;
}

static PyObject *py_encode_bet_batch(PyObject *module, PyObject *message)
{
    Output out;
    PyObject *result = NULL;
    const State *state = PyModule_GetState(module);
    output_begin(&out);
    int ok = put_frame_bet_batch(state, &out, message);
    if (ok) result = PyBytes_FromStringAndSize((const char *)out.base, out.size);
    output_end(&out);
    return ok ? result : ask_pure(state->pure_encode_bet_batch, message, 1);
}


static int scan_bet_batch(const u8 *d, Py_ssize_t n, Scan *s)
{
    switch (s->at) {
    case 0:
    s->v[1] = s->v[0] + 0;
    if (s->v[0] + 1 > s->v[1] + 8192) return SCAN_BAD;
    s->need = (Py_ssize_t)s->v[0] + 1;
    /* fall through */ case 1:
    if (n < s->need) { s->at = 1; return SCAN_MORE; }
    if (memcmp(d + s->v[0] + 0, "\001", 1)) return SCAN_BAD;
    s->v[2] = 0;
    if (s->v[0] + 2 > s->v[1] + 8192) return SCAN_BAD;
    s->need = (Py_ssize_t)s->v[0] + 2;
    /* fall through */ case 2:
    if (n < s->need) { s->at = 2; return SCAN_MORE; }
    if ((uint64_t)(d + s->v[0] + 1)[0] > 255ULL || (uint64_t)(d + s->v[0] + 1)[0] < 1ULL) return SCAN_BAD;
    s->v[2] = (int64_t)(d + s->v[0] + 1)[0];
    s->v[0] += 2;
    for (; s->v[2] > 0; s->v[2]--) {
        if (s->v[0] + 2 > s->v[1] + 8192) return SCAN_BAD;
        s->need = (Py_ssize_t)s->v[0] + 2;
        /* fall through */ case 3:
        if (n < s->need) { s->at = 3; return SCAN_MORE; }
        if ((uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) > 533ULL || (uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) < 25ULL) return SCAN_BAD;
        s->v[0] += 2 + (int64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]);
        if (s->v[0] + 0 > s->v[1] + 8192) return SCAN_BAD;
        s->need = (Py_ssize_t)s->v[0] + 0;
        /* fall through */ case 4:
        if (n < s->need) { s->at = 4; return SCAN_MORE; }
    }
    if (s->v[0] + 0 > s->v[1] + 8192) return SCAN_BAD;
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 5:
    if (n < s->need) { s->at = 5; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 6:
    if (n < s->need) { s->at = 6; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    return SCAN_DONE;
    }
    return SCAN_BAD;
}

static PyObject *py_scan_bet_batch(PyObject *module, PyObject *data)
{
    const State *state = PyModule_GetState(module);
    if (!PyByteArray_Check(data) && !PyBytes_Check(data)) return ask_pure(state->pure_scan_bet_batch, data, 1);
    return new_scanner(&state->shared, data, scan_bet_batch, offsetof(State, pure_scan_bet_batch));
}


static int check_winners(const u8 *p, Py_ssize_t n)
{
    const u8 *e = p + n;
    if ((size_t)(e - p) < (size_t)(2)) return 0;
    uint32_t v1 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v1;
    p += 2;
    if (!((uint64_t)v1 <= (uint64_t)(e - p) / 8)) return 0;
    for (Py_ssize_t i2 = 0; i2 < (Py_ssize_t)v1; i2++) {
        if ((size_t)(e - p) < (size_t)(8)) return 0;
        int k3 = is_text_1(p, (Py_ssize_t)8);
        if (!(k3)) return 0;
        p += 8;
    }
    return p == e;
}

static PyObject *py_check_winners(PyObject *module, PyObject *data)
{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_winners, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {
        Py_BEGIN_ALLOW_THREADS
        ok = check_winners(p, n);
        Py_END_ALLOW_THREADS
    } else
        ok = check_winners(p, n);
    if (!ok) return ask_pure(state->pure_check_winners, data, 0);
    Py_RETURN_NONE;
}


static PyObject *py_decode_winners(PyObject *module, PyObject *data)
{
    PyObject *o[3] = {NULL};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_winners, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
    if ((size_t)(e - p) < (size_t)(2)) goto bad;
    uint32_t v1 = ((uint32_t)p[0] << 8 | p[1]);
    (void)v1;
    p += 2;
    if (!((uint64_t)v1 <= (uint64_t)(e - p) / 8)) goto bad;
    if (!(o[0] = PyTuple_New((Py_ssize_t)v1))) goto bad;
    for (Py_ssize_t i2 = 0; i2 < (Py_ssize_t)v1; i2++) {
        if ((size_t)(e - p) < (size_t)(8)) goto bad;
        int k3 = is_text_1(p, (Py_ssize_t)8);
        if (!(k3)) goto bad;
        if (!(o[1] = new_text(p, (Py_ssize_t)8, k3))) goto bad;
        p += 8;
        PyTuple_SET_ITEM(o[0], i2, o[1]); o[1] = NULL;
    }
    if (!(o[2] = new_object(state->type_Winners))) goto bad;
    set_slot(o[2], state->slots_Winners[0], o[0]); o[0] = NULL;
    track(o[2]);
    if (p == e) return o[2];
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_winners, data, 0);
}


static int put_frame_winners(const State *state, Output *out, PyObject *message)
{
    (void)state;
    PyObject *r1 = message;
    if (!(r1 && Py_IS_TYPE(r1, state->type_Winners))) return 0;
    PyObject *f2 = get_slot(r1, state->slots_Winners[0]);
    if (!(f2 && (PyTuple_Check(f2) || PyList_Check(f2)))) return 0;
    PyObject **a3 = PySequence_Fast_ITEMS(f2);
    Py_ssize_t n4 = PySequence_Fast_GET_SIZE(f2);
    if (!(n4 >= 0 && n4 <= 65535)) return 0;
    if (!(reserve(out, 2))) return 0;
    put_be((out->base + out->size), 2, (uint64_t)n4);
    out->size += 2;
    for (Py_ssize_t i5 = 0; i5 < n4; i5++) {
        if (!(reserve(out, 8))) return 0;
         {
            u8 *w6 = out->base + out->size;
            Py_ssize_t n7 = 0;
            const u8 *t8 = get_text(a3[i5], &n7);
            if (!(t8 && is_text_1(t8, n7))) return 0;
            if (!(n7 == 8)) return 0;
            memcpy(w6, t8, (size_t)8);
            w6 += 8;
            out->size = w6 - out->base;
        }
    }
    return 1;
}

static PyObject *py_encode_winners(PyObject *module, PyObject *message)
{
    Output out;
    PyObject *result = NULL;
    const State *state = PyModule_GetState(module);
    output_begin(&out);
    int ok = put_frame_winners(state, &out, message);
    if (ok) result = PyBytes_FromStringAndSize((const char *)out.base, out.size);
    output_end(&out);
    return ok ? result : ask_pure(state->pure_encode_winners, message, 1);
}


static int scan_winners(const u8 *d, Py_ssize_t n, Scan *s)
{
    switch (s->at) {
    case 0:
    s->v[1] = 0;
    s->need = (Py_ssize_t)s->v[0] + 2;
    /* fall through */ case 1:
    if (n < s->need) { s->at = 1; return SCAN_MORE; }
    if ((uint64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]) > 65535ULL) return SCAN_BAD;
    s->v[1] = (int64_t)((uint32_t)(d + s->v[0] + 0)[0] << 8 | (d + s->v[0] + 0)[1]);
    if (s->v[1] > (INT64_MAX / 4 - s->v[0]) / 8) return SCAN_BAD;
    s->v[0] += 2 + s->v[1] * 8;
    s->need = (Py_ssize_t)s->v[0] + 0;
    /* fall through */ case 2:
    if (n < s->need) { s->at = 2; return SCAN_MORE; }
    s->need = (Py_ssize_t)s->v[0] + 0;
    return SCAN_DONE;
    }
    return SCAN_BAD;
}

static PyObject *py_scan_winners(PyObject *module, PyObject *data)
{
    const State *state = PyModule_GetState(module);
    if (!PyByteArray_Check(data) && !PyBytes_Check(data)) return ask_pure(state->pure_scan_winners, data, 1);
    return new_scanner(&state->shared, data, scan_winners, offsetof(State, pure_scan_winners));
}

#include "crc32.h"

static int add_run_bets(PyObject *runs, uint64_t owner, Py_ssize_t records, const u8 *from, const u8 *to)
{
    Py_ssize_t size = to - from;
    PyObject *run = Py_BuildValue("(Kny#)", (unsigned long long)owner, records, (const char *)from, size);
    int added = run ? PyList_Append(runs, run) : -1;
    Py_XDECREF(run);
    return added == 0;
}

/* The size of the record at p, with its length; 0 if the record does not fit the bytes up to e. */
static inline Py_ssize_t next_bets(const u8 *p, const u8 *e)
{
    if (e - p < 2) return 0;
    uint64_t length = ((uint32_t)p[0] << 8 | p[1]);
    return length < 25ULL || length > 533ULL || (uint64_t)(e - p - 2) < length
        ? 0 : 2 + (Py_ssize_t)length;
}

static PyObject *py_split_bets(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyBytes_Check(arguments[0]) || !PyLong_Check(arguments[1])) Py_RETURN_NONE;
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]);
    if (start == -1 && PyErr_Occurred()) { PyErr_Clear(); Py_RETURN_NONE; }
    const u8 *d = (const u8 *)PyBytes_AS_STRING(arguments[0]), *e = d + PyBytes_GET_SIZE(arguments[0]);
    if (start < 0 || start >= e - d) Py_RETURN_NONE;
    const u8 *p = d + start, *first = p;
    PyObject *runs = PyList_New(0);
    if (!runs) return NULL;
    uint64_t owner = 0;
    Py_ssize_t records = 0;
    while (p < e) {
        Py_ssize_t size = next_bets(p, e);
        if (!size) { Py_DECREF(runs); Py_RETURN_NONE; }
        uint64_t whose = (p + 2)[0];
        if (records && whose != owner) {
            if (!add_run_bets(runs, owner, records, first, p)) { Py_DECREF(runs); return NULL; }
            first = p;
            records = 0;
        }
        owner = whose;
        records++;
        p += size;
    }
    if (!add_run_bets(runs, owner, records, first, p)) Py_CLEAR(runs);
    return runs;
}

/* What a survey reads and finds. Python has no other reference to it while the lock is released. */
typedef struct {
    Py_ssize_t uploads, found, room;
    PyObject **runs; /* of each upload: a tuple of bytes */
    uint32_t *crcs;
    struct { Py_ssize_t upload; const u8 *end; } *hits;
} Survey_bets;

/* Runs without the interpreter lock. Returns 0 if a record does not fit or memory runs out, else 1. */
static int go_through_bets(Survey_bets *s, uint64_t key)
{
    for (Py_ssize_t upload = 0; upload < s->uploads; upload++)
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(s->runs[upload]); i++) {
            PyObject *run = PyTuple_GET_ITEM(s->runs[upload], i);
            const u8 *p = (const u8 *)PyBytes_AS_STRING(run), *e = p + PyBytes_GET_SIZE(run);
            s->crcs[upload] = crc32_of(s->crcs[upload], p, e - p);
            while (p < e) {
                Py_ssize_t size = next_bets(p, e);
                if (!size) return 0;
                p += size;
                if (((uint32_t)(p - 2)[0] << 8 | (p - 2)[1]) != key) continue;
                if (s->found == s->room) {
                    Py_ssize_t room = 2 * s->room + 64;
                    void *hits = PyMem_RawRealloc(s->hits, (size_t)room * sizeof *s->hits);
                    if (!hits) return 0;
                    s->hits = hits;
                    s->room = room;
                }
                s->hits[s->found].upload = upload;
                s->hits[s->found++].end = p;
            }
        }
    return 1;
}

/* Fills the survey from the arguments. Returns 1; 0 if they have other types; -1 with an error set. */
static int take_bets(Survey_bets *s, PyObject *uploads)
{
    Py_ssize_t count = PyList_GET_SIZE(uploads);
    s->runs = PyMem_Calloc((size_t)count + 1, sizeof *s->runs);
    s->crcs = PyMem_Calloc((size_t)count + 1, sizeof *s->crcs);
    if (!s->runs || !s->crcs) { PyErr_NoMemory(); return -1; }
    for (Py_ssize_t upload = 0; upload < count; upload++) {
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
    }
    return 1;
}

/* The answer: the CRC-32 of each upload and the values that were found; None if a value is not ASCII. */
static PyObject *answer_bets(const Survey_bets *s)
{
    PyObject *answer = PyList_New(s->uploads);
    for (Py_ssize_t upload = 0, hit = 0; answer && upload < s->uploads; upload++) {
        PyObject *values = PyList_New(0), *one = NULL;
        for (; values && hit < s->found && s->hits[hit].upload == upload; hit++) {
            const u8 *at = s->hits[hit].end - 20;
            if (!all_ascii(at, 8)) { Py_DECREF(values); Py_DECREF(answer); Py_RETURN_NONE; }
            PyObject *value = new_text(at, 8, TEXT_ASCII);
            if (!value || PyList_Append(values, value) < 0) Py_CLEAR(values);
            Py_XDECREF(value);
        }
        if (values) one = Py_BuildValue("(kN)", (unsigned long)s->crcs[upload], values);
        if (one) PyList_SET_ITEM(answer, upload, one);
        else Py_CLEAR(answer);
    }
    return answer;
}

static PyObject *py_survey_bets(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    uint64_t key;
    if (count != 2 || !PyList_Check(arguments[0]) || !PyLong_Check(arguments[1]) || !crc32_ready()) Py_RETURN_NONE;
    if (!get_u64(arguments[1], 0, 65535ULL, &key)) Py_RETURN_NONE;
    Survey_bets survey = {0};
    PyObject *answer = NULL;
    int sound = take_bets(&survey, arguments[0]);
    if (sound > 0) {
        Py_BEGIN_ALLOW_THREADS
        sound = go_through_bets(&survey, key);
        Py_END_ALLOW_THREADS
    }
    if (sound > 0) answer = answer_bets(&survey);
    else if (!sound) answer = Py_NewRef(Py_None);
    for (Py_ssize_t upload = 0; upload < survey.uploads; upload++) Py_DECREF(survey.runs[upload]);
    PyMem_Free(survey.runs);
    PyMem_Free(survey.crcs);
    PyMem_RawFree(survey.hits);
    return answer;
}


static PyObject *py_bind(PyObject *module, PyObject *args)
{
    PyObject *classes, *pure;
    State *state = PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "O!O!", &PyDict_Type, &classes, &PyDict_Type, &pure)) return NULL;
    if (bind_class(classes, "Bet", &state->type_Bet, names_Bet, state->slots_Bet) < 0)
        return NULL;
    if (bind_class(classes, "BetBatch", &state->type_BetBatch, names_BetBatch, state->slots_BetBatch) < 0)
        return NULL;
    if (bind_class(classes, "Winners", &state->type_Winners, names_Winners, state->slots_Winners) < 0)
        return NULL;
    Py_XSETREF(state->pure_check_bet_frame, Py_XNewRef(PyDict_GetItemString(pure, "check_bet_frame")));
    Py_XSETREF(state->pure_decode_bet_frame, Py_XNewRef(PyDict_GetItemString(pure, "decode_bet_frame")));
    Py_XSETREF(state->pure_encode_bet_frame, Py_XNewRef(PyDict_GetItemString(pure, "encode_bet_frame")));
    Py_XSETREF(state->pure_scan_bet_frame, Py_XNewRef(PyDict_GetItemString(pure, "scan_bet_frame")));
    Py_XSETREF(state->pure_check_untyped_batch, Py_XNewRef(PyDict_GetItemString(pure, "check_untyped_batch")));
    Py_XSETREF(state->pure_decode_untyped_batch, Py_XNewRef(PyDict_GetItemString(pure, "decode_untyped_batch")));
    Py_XSETREF(state->pure_encode_untyped_batch, Py_XNewRef(PyDict_GetItemString(pure, "encode_untyped_batch")));
    Py_XSETREF(state->pure_scan_untyped_batch, Py_XNewRef(PyDict_GetItemString(pure, "scan_untyped_batch")));
    Py_XSETREF(state->pure_check_bet_batch, Py_XNewRef(PyDict_GetItemString(pure, "check_bet_batch")));
    Py_XSETREF(state->pure_decode_bet_batch, Py_XNewRef(PyDict_GetItemString(pure, "decode_bet_batch")));
    Py_XSETREF(state->pure_encode_bet_batch, Py_XNewRef(PyDict_GetItemString(pure, "encode_bet_batch")));
    Py_XSETREF(state->pure_scan_bet_batch, Py_XNewRef(PyDict_GetItemString(pure, "scan_bet_batch")));
    Py_XSETREF(state->pure_check_winners, Py_XNewRef(PyDict_GetItemString(pure, "check_winners")));
    Py_XSETREF(state->pure_decode_winners, Py_XNewRef(PyDict_GetItemString(pure, "decode_winners")));
    Py_XSETREF(state->pure_encode_winners, Py_XNewRef(PyDict_GetItemString(pure, "encode_winners")));
    Py_XSETREF(state->pure_scan_winners, Py_XNewRef(PyDict_GetItemString(pure, "scan_winners")));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"check_bet_frame", py_check_bet_frame, METH_O, NULL},
    {"decode_bet_frame", py_decode_bet_frame, METH_O, NULL},
    {"encode_bet_frame", py_encode_bet_frame, METH_O, NULL},
    {"scan_bet_frame", py_scan_bet_frame, METH_O, NULL},
    {"check_untyped_batch", py_check_untyped_batch, METH_O, NULL},
    {"decode_untyped_batch", py_decode_untyped_batch, METH_O, NULL},
    {"encode_untyped_batch", py_encode_untyped_batch, METH_O, NULL},
    {"scan_untyped_batch", py_scan_untyped_batch, METH_O, NULL},
    {"check_bet_batch", py_check_bet_batch, METH_O, NULL},
    {"decode_bet_batch", py_decode_bet_batch, METH_O, NULL},
    {"encode_bet_batch", py_encode_bet_batch, METH_O, NULL},
    {"scan_bet_batch", py_scan_bet_batch, METH_O, NULL},
    {"check_winners", py_check_winners, METH_O, NULL},
    {"decode_winners", py_decode_winners, METH_O, NULL},
    {"encode_winners", py_encode_winners, METH_O, NULL},
    {"scan_winners", py_scan_winners, METH_O, NULL},
    {"split_bets", (PyCFunction)(void (*)(void))py_split_bets, METH_FASTCALL, NULL},
    {"survey_bets", (PyCFunction)(void (*)(void))py_survey_bets, METH_FASTCALL, NULL},
    {"bind", py_bind, METH_VARARGS, "Give the codec its message classes and the pure functions."},
    {NULL, NULL, 0, NULL}};


static int execute(PyObject *module)
{
    State *state = PyModule_GetState(module);
    if (shared_begin(&state->shared, module) < 0) return -1;
    
    return PyModule_AddStringConstant(module, "DIGEST", "605b1a20da8fe7e2");
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->type_Bet);
    Py_VISIT(state->type_BetBatch);
    Py_VISIT(state->type_Winners);
    Py_VISIT(state->pure_check_bet_frame);
    Py_VISIT(state->pure_decode_bet_frame);
    Py_VISIT(state->pure_encode_bet_frame);
    Py_VISIT(state->pure_scan_bet_frame);
    Py_VISIT(state->pure_check_untyped_batch);
    Py_VISIT(state->pure_decode_untyped_batch);
    Py_VISIT(state->pure_encode_untyped_batch);
    Py_VISIT(state->pure_scan_untyped_batch);
    Py_VISIT(state->pure_check_bet_batch);
    Py_VISIT(state->pure_decode_bet_batch);
    Py_VISIT(state->pure_encode_bet_batch);
    Py_VISIT(state->pure_scan_bet_batch);
    Py_VISIT(state->pure_check_winners);
    Py_VISIT(state->pure_decode_winners);
    Py_VISIT(state->pure_encode_winners);
    Py_VISIT(state->pure_scan_winners);
    Py_VISIT(state->shared.scanner_type);
    return 0;
}

static int clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->type_Bet);
    Py_CLEAR(state->type_BetBatch);
    Py_CLEAR(state->type_Winners);
    Py_CLEAR(state->pure_check_bet_frame);
    Py_CLEAR(state->pure_decode_bet_frame);
    Py_CLEAR(state->pure_encode_bet_frame);
    Py_CLEAR(state->pure_scan_bet_frame);
    Py_CLEAR(state->pure_check_untyped_batch);
    Py_CLEAR(state->pure_decode_untyped_batch);
    Py_CLEAR(state->pure_encode_untyped_batch);
    Py_CLEAR(state->pure_scan_untyped_batch);
    Py_CLEAR(state->pure_check_bet_batch);
    Py_CLEAR(state->pure_decode_bet_batch);
    Py_CLEAR(state->pure_encode_bet_batch);
    Py_CLEAR(state->pure_scan_bet_batch);
    Py_CLEAR(state->pure_check_winners);
    Py_CLEAR(state->pure_decode_winners);
    Py_CLEAR(state->pure_encode_winners);
    Py_CLEAR(state->pure_scan_winners);
    Py_CLEAR(state->shared.scanner_type);
    return 0;
}

static void release(void *module)
{
    clear(module);
    shared_end(&((State *)PyModule_GetState(module))->shared);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The native codec.", sizeof(State), methods, slots, traverse, clear, release};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
