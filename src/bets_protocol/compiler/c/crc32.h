/* -- CRC-32 as in zlib, without the interpreter lock and for many runs in one call.

   Polynomials are over GF(2), with their bits in reflected order. 64 bytes are held as four numbers of 128 bits. A
   number is moved ahead by multiplying its halves with a power of x, modulo the polynomial, and adding the products to
   the bytes there. At the end 16 bytes are left with the remainder of all before them; they are added byte by byte.

   Other processors do not multiply without carry: then crc32_ready() is 0, and the caller uses zlib. */

#if defined(__x86_64__) && defined(__GNUC__)
#include <wmmintrin.h>
#define CRC32_TARGET __attribute__((target("sse2,pclmul")))

/* The remainders of the 16 values of half a byte. */
static const uint32_t crc32_table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};

/* x to the power of n + 32 and of n - 32, which move the halves of a number by n bits: 64 bytes, and 16 bytes. */
static const uint64_t crc32_far[2] = {0x154442BD4, 0x1C6E41596};
static const uint64_t crc32_near[2] = {0x1751997D0, 0x0CCAA009E};

/* Whether the processor has the instruction. */
static int crc32_ready(void) { return __builtin_cpu_supports("pclmul") != 0; }

static uint32_t crc32_one_by_one(uint32_t state, const u8 *p, Py_ssize_t n)
{
    while (n--) {
        state ^= *p++;
        state = crc32_table[state & 15] ^ state >> 4;
        state = crc32_table[state & 15] ^ state >> 4;
    }
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
