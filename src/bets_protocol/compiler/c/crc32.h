/* -- CRC-32 as in zlib, without the interpreter lock and for many runs in one call.

   Polynomials are over GF(2), with their bits in reflected order. 64 bytes are held as four numbers of 128 bits. A
   number is moved ahead by multiplying its halves with a power of x, modulo the polynomial, and adding the products to
   the bytes there. At the end 16 bytes are left with the remainder of all before them; they are added byte by byte.

   The module defines crc32_table, for single bytes, and crc32_far and crc32_near, which move a number by 64 and by 16
   bytes. Other processors do not multiply without carry: then crc32_ready() is 0, and the caller uses zlib. */

#if defined(__x86_64__) && defined(__GNUC__)
#include <wmmintrin.h>
#define CRC32_TARGET __attribute__((target("sse2,pclmul")))

/* Whether the processor has the instruction. */
static int crc32_ready(void) { return __builtin_cpu_supports("pclmul") != 0; }

static uint32_t crc32_one_by_one(uint32_t state, const u8 *p, Py_ssize_t n)
{
    while (n--) state = crc32_table[(u8)(state ^ *p++)] ^ state >> 8;
    return state;
}

CRC32_TARGET static inline __m128i crc32_moved(__m128i x, __m128i powers, const u8 *onto)
{
    __m128i halves = _mm_xor_si128(_mm_clmulepi64_si128(x, powers, 0x00), _mm_clmulepi64_si128(x, powers, 0x11));
    return _mm_xor_si128(halves, _mm_loadu_si128((const __m128i *)onto));
}

/* For at least 64 bytes. */
CRC32_TARGET static uint32_t crc32_folded(uint32_t state, const u8 *p, Py_ssize_t n)
{
    const __m128i far = _mm_loadu_si128((const __m128i *)crc32_far);
    const __m128i near = _mm_loadu_si128((const __m128i *)crc32_near);
    const u8 *e = p + n;
    __m128i x[4];
    u8 rest[16];
    for (int i = 0; i < 4; i++, p += 16) x[i] = _mm_loadu_si128((const __m128i *)p);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)state));
    while (e - p >= 64)
        for (int i = 0; i < 4; i++, p += 16) x[i] = crc32_moved(x[i], far, p);
    for (int i = 1; i < 4; i++) {
        _mm_storeu_si128((__m128i *)rest, x[i]);
        x[0] = crc32_moved(x[0], near, rest);
    }
    for (; e - p >= 16; p += 16) x[0] = crc32_moved(x[0], near, p);
    _mm_storeu_si128((__m128i *)rest, x[0]);
    return crc32_one_by_one(crc32_one_by_one(0, rest, 16), p, e - p);
}

static uint32_t crc32_of(uint32_t crc, const u8 *p, Py_ssize_t n)
{
    return ~(n < 64 ? crc32_one_by_one(~crc, p, n) : crc32_folded(~crc, p, n));
}
#else
static int crc32_ready(void) { return 0; }
static uint32_t crc32_of(uint32_t crc, const u8 *p, Py_ssize_t n) { (void)p; (void)n; return crc; }
#endif
