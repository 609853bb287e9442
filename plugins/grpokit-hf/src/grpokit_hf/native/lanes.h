/* Sixteen rows of a batch side by side in a vector: the arithmetic that token.c is made of.
 *
 * A matrix of R rows is kept feature by feature: x[feature][block of 16 rows]. A product then reads each
 * weight once, whatever the number of rows, and no row's result depends on which others there are.
 * GCC's and Clang's vector types become what the processor has (AVX-512, AVX2, NEON).
 */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__AMX_TILE__)
#include <immintrin.h>
#endif

#define LANES 16
#ifdef __AVX512F__
#define TALL 8 /* rows of a weight at once: as many as registers hold */
#else
#define TALL 4
#endif
#define INLINE static inline __attribute__((always_inline))
typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef uint32_t uvec __attribute__((vector_size(64)));

/* Whether weights are bfloat16 (else float32); known where functions are made inline. */
typedef const int Half;

INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec choose(ivec where, vec yes, vec no) {
    return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }

/* To the nearest bfloat16, ties to even, as 32 bits of which the lower half is 0; NaN stays NaN. */
INLINE uvec rounded_bits(vec x) {
    uvec bits = (uvec)x;
    uvec up = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    return (uvec)choose(x == x, (vec)up, x + x) & 0xffff0000u;
}
INLINE vec rounded(vec x, Half half) { return half ? (vec)rounded_bits(x) : x; }
INLINE float widened(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}
INLINE float weight_at(const void *weights, int64_t i, Half half) {
    return half ? widened(((const uint16_t *)weights)[i]) : ((const float *)weights)[i];
}

/* Sixteen numbers of a table in float32, from `i` on. */
typedef uint16_t halves __attribute__((vector_size(32)));

INLINE vec load(const void *x, int64_t i, Half half) {
    vec out;
    if (!half) {
        memcpy(&out, (const float *)x + i, sizeof out);
        return out;
    }
    halves bits;
    memcpy(&bits, (const uint16_t *)x + i, sizeof bits);
    return (vec)(__builtin_convertvector(bits, uvec) << 16);
}
INLINE void store(void *to, int64_t i, vec x, Half half) {
    if (!half) {
        memcpy((float *)to + i, &x, sizeof x);
        return;
    }
    halves bits = __builtin_convertvector(rounded_bits(x) >> 16, halves);
    memcpy((uint16_t *)to + i, &bits, sizeof bits);
}

/* e^x to about one unit in the last place; at most 88, and 0 below -87. */
INLINE vec exponential(vec x) {
    vec low = all(-87.0f), high = all(88.0f);
    vec y = choose(x > high, high, choose(x < low, low, x));
    vec n = y * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23 rounds to a whole number */
    ivec whole = (ivec)n - 0x4b400000;
    n = n - 12582912.0f;
    vec r = y - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vec out = p * (vec)((whole + 127) << 23);
    return choose(x < low, all(0.0f), out);
}
#ifdef __AVX512DQ__
/* 2^x to about one unit in the last place; 0 for -infinity, and NaN stays NaN. */
INLINE vec power(vec x) {
    const vec f = (vec)_mm512_reduce_ps((__m512)x, 9); /* what is above the whole number below */
    vec p = all(1.8775766584598031e-3f);
    p = p * f + 8.989340130982714e-3f;
    p = p * f + 5.58263180193244e-2f;
    p = p * f + 2.4015361705584845e-1f;
    p = p * f + 6.93153073198843e-1f;
    p = p * f + 9.999999250635486e-1f;
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)x);
}
#endif
INLINE float sum_of(vec x) {
    float s[LANES], total = 0;
    memcpy(s, &x, sizeof s);
    for (int w = LANES / 2; w; w /= 2)
        for (int i = 0; i < w; i++) s[i] += s[i + w];
    total = s[0];
    return total;
}

/* acc[o][n] += sum over k of w[o][k] x[k][n], for O rows of w and N blocks of rows. */
INLINE void tile_float(const int O, const int N, const float *w, int64_t row, int64_t column,
                       int64_t K, const vec *x, int64_t stride, vec *acc) {
    vec a[16];
    for (int i = 0; i < O * N; i++) a[i] = acc[i];
    for (int64_t k = 0; k < K; k++) {
        const vec *xk = x + k * stride;
        if (column == 1 && k % LANES == 0) /* the next rows are on their way as these are read */
#pragma GCC unroll 8
            for (int o = 0; o < O; o++) __builtin_prefetch(w + O * row + k * O + o * LANES, 0, 2);
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) {
            float weight = w[o * row + k * column];
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) a[o * N + n] += weight * xk[n];
        }
    }
    for (int i = 0; i < O * N; i++) acc[i] = a[i];
}

/* Weights that come from memory once are read 64 bytes a row at a time, rows STRIDE apart: a processor that
 * looks ahead within pages then sees one row in each. What is read next is asked for as these are read. */
#define STRIDE 4
#define NEXT(w, next, k, K, ahead) ((k) + (ahead) < (K) ? (w) + (k) + (ahead) : (next) + (k) + (ahead) - (K))

/* out[o][n] of O rows of w, `row` from each other and `apart` in out; then come those of `next`. */
INLINE void tile_stream(const int O, const int N, const float *w, int64_t row, const float *next, int64_t K,
                        const vec *x, vec *out, int64_t apart) {
    vec a[24];
    for (int i = 0; i < O * N; i++) a[i] = all(0);
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        const float *then = NEXT(w, next, k, K, 128);
#pragma GCC unroll 24
        for (int o = 0; o < O; o++) __builtin_prefetch(then + o * row, 0, 3);
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++)
#pragma GCC unroll 24
            for (int o = 0; o < O; o++) {
                const float weight = w[o * row + k + j];
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) a[o * N + n] += weight * x[(k + j) * N + n];
            }
    }
    for (; k < K; k++)
#pragma GCC unroll 24
        for (int o = 0; o < O; o++)
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) a[o * N + n] += w[o * row + k] * x[k * N + n];
    for (int o = 0; o < O; o++)
        for (int n = 0; n < N; n++) out[o * apart + n] = a[o * N + n];
}

/* The same of bfloat16: x holds two features of a row in the halves of 32 bits. */
INLINE void tile_half(const int O, const int N, const uint16_t *w, int64_t row, int64_t K,
                      const uvec *x, int64_t stride, vec *acc) {
    vec a[16];
    for (int i = 0; i < O * N; i++) a[i] = acc[i];
    for (int64_t k = 0; k < K / 2; k++) {
        const uvec *xk = x + k * stride;
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) {
            uint32_t pair;
            memcpy(&pair, w + o * row + 2 * k, 4);
#pragma GCC unroll 4
            for (int n = 0; n < N; n++) {
#ifdef __AVX512BF16__
                __m512bh both = (__m512bh)_mm512_set1_epi32((int)pair);
                a[o * N + n] = (vec)_mm512_dpbf16_ps((__m512)a[o * N + n], (__m512bh)xk[n], both);
#else
                uint32_t bits[2] = {pair << 16, pair & 0xffff0000u};
                float weight[2];
                memcpy(weight, bits, 8);
                a[o * N + n] += weight[0] * (vec)(xk[n] << 16);
                a[o * N + n] += weight[1] * (vec)(xk[n] & 0xffff0000u);
#endif
            }
        }
    }
    for (int i = 0; i < O * N; i++) acc[i] = a[i];
}

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>
/* Whether Linux gave them; token.c has the number. */
extern int tiles_work __attribute__((visibility("hidden")));

/* Asks Linux for the tiles' registers (ARCH_REQ_XCOMP_PERM). */
INLINE void tiles_ask(void) { tiles_work = syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

/* Tiles of 16 rows and 64 bytes, for this thread until tiles_end. */
INLINE void tiles_begin(void) {
    if (!tiles_work) return;
    struct { uint8_t palette, start, zero[14]; uint16_t width[16]; uint8_t rows[16]; } shape = {0};
    shape.palette = 1;
    for (int i = 0; i < 8; i++) shape.width[i] = 64, shape.rows[i] = 16;
    _tile_loadconfig(&shape);
}
INLINE void tiles_end(void) {
    if (tiles_work) _tile_release();
}

/* out[o][n] of 16 rows of w, `row` from each other and `apart` in out, against N blocks; then come those of
 * `next`. K is a whole number of 32. */
INLINE void tile_amx(const int N, const uint16_t *w, int64_t row, const uint16_t *next, int64_t K, const uvec *x,
                     vec *out, int64_t apart) {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    for (int64_t k = 0; k < K; k += 32, x += 16 * N) {
        const uint16_t *then = NEXT(w, next, k, K, 64);
#pragma GCC unroll 16
        for (int o = 0; o < 16; o++) __builtin_prefetch(then + o * row, 0, 3);
        _tile_loadd(4, w + k, row * 2);
        _tile_loadd(5, x, N * 64);
        _tile_dpbf16ps(0, 4, 5);
        if (N > 1) { _tile_loadd(6, x + 1, N * 64); _tile_dpbf16ps(1, 4, 6); }
        if (N > 2) { _tile_loadd(7, x + 2, N * 64); _tile_dpbf16ps(2, 4, 7); }
        if (N > 3) { _tile_loadd(5, x + 3, N * 64); _tile_dpbf16ps(3, 4, 5); }
    }
    _tile_stored(0, out, apart * 64);
    if (N > 1) _tile_stored(1, out + 1, apart * 64);
    if (N > 2) _tile_stored(2, out + 2, apart * 64);
    if (N > 3) _tile_stored(3, out + 3, apart * 64);
}
#else
INLINE void tiles_ask(void) {}
INLINE void tiles_begin(void) {}
INLINE void tiles_end(void) {}
#endif
