/* Numbers of a matrix as AMX tiles: 16 rows of 32 bfloat16, for the left or for the right of a product.
 *
 * A float32 is the sum of three bfloat16 (8 bits of its 24 each), and nearly that of two. A product of two
 * numbers in three parts is then six products of parts, what is left out being below float32's rounding.
 */
#include "lanes.h"
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
#include "tiles.h"

#define DEEP 32   /* bfloat16 of a tile's row */
#define WHOLE 512 /* bfloat16 of a tile */

/* A matrix (rows, inner), float32 or bfloat16: one of the strides is 1. */
typedef struct { const void *at; int64_t rows, inner, row, column; } Matrix;

/* Numbers 0, 16, 1, 17 and so on of 32. */
INLINE __m512i in_turn(__m512i x) {
    const uvec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return _mm512_permutexvar_epi16((__m512i)(lane | (lane + 16) << 16), x);
}

/* To the nearest bfloat16, ties away from 0, the lower half 0. Of a NaN it may be anything. */
INLINE __m512 near(__m512 x) {
    const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32((int)0xffff0000u);
    return (__m512)_mm512_and_si512(_mm512_add_epi32((__m512i)x, half), upper);
}
/* Thirty-two float32 as `parts` vectors of bfloat16: each is what the former leave. Lane i holds one of
 * `even` in its lower and one of `odd` in its upper half. A NaN is one in the last part. */
INLINE void split_pairs(Parts parts, __m512 even, __m512 odd, __m512i *to) {
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    for (int p = 0; p < parts; p++) {
        const __m512 a = p < 2 ? near(even) : even, b = p < 2 ? near(odd) : odd;
        if (p < 2 && p == parts - 1) to[p] = in_turn((__m512i)_mm512_cvtne2ps_pbh(odd, even));
        else to[p] = _mm512_ternarylogic_epi32(upper, (__m512i)b, _mm512_srli_epi32((__m512i)a, 16), 0xca);
        even = even - a, odd = odd - b;
    }
}

/* As many ones as numbers are left, from `done` on. */
INLINE uint32_t mask_of(int64_t left, int64_t done) {
    left -= done;
    return left <= 0 ? 0 : left >= 32 ? 0xffffffffu : (1u << left) - 1;
}

/* Row i, numbers k .. k + 32, of a bfloat16 matrix whose rows lie together; 0 where there is none. */
INLINE __m512i row_of(const Matrix *m, int64_t i, int64_t k) {
    const uint32_t there = i < m->rows ? mask_of(m->inner, k) : 0;
    return _mm512_maskz_loadu_epi16(there, (const uint16_t *)m->at + i * m->row + k);
}
/* Numbers k and k + 1 of rows i .. i + 16, of a bfloat16 matrix whose columns lie together. */
INLINE __m512i columns_of(const Matrix *m, int64_t i, int64_t k) {
    const __mmask16 there = (__mmask16)mask_of(m->rows, i);
    const __mmask16 even = k < m->inner ? there : 0, odd = k + 1 < m->inner ? there : 0;
    const uint16_t *from = (const uint16_t *)m->at + k * m->column + i;
    const __m256i a = _mm256_maskz_loadu_epi16(even, from);
    const __m256i b = _mm256_maskz_loadu_epi16(odd, from + m->column);
    return in_turn(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
}

/* Sixteen vectors of a float32 matrix, `apart` from each other, of which `count` are there. */
INLINE void vectors_of(const float *from, int64_t apart, int64_t count, uint32_t there, uvec *to) {
    if (count >= TILE && (uint16_t)there == 0xffff)
        for (int r = 0; r < TILE; r++) to[r] = (uvec)_mm512_loadu_ps(from + r * apart);
    else
        for (int r = 0; r < TILE; r++)
            to[r] = (uvec)_mm512_maskz_loadu_ps(r < count ? (__mmask16)there : 0, from + r * apart);
}

/* The tiles (one for each part, `apart` bfloat16 from each other) of rows i .. and numbers k ..: for the left
 * of a product as they are, for the right in pairs of numbers, row by row of the tile. Numbers k and k + 1
 * are a pair of bfloat16, k and k + 16 of float32: of what is summed the order is free. */
INLINE void tile_of(Parts parts, const int right, const Matrix *m, int64_t i, int64_t k,
                    uint16_t *to, int64_t apart) {
    const int by_row = m->column == 1;
    uvec x[2][TILE];
    if (parts == 1) {
        if (by_row) for (int r = 0; r < TILE; r++) x[0][r] = (uvec)row_of(m, i + r, k);
        else for (int r = 0; r < TILE; r++) x[0][r] = (uvec)columns_of(m, i, k + 2 * r);
        if (by_row == right) transpose(x[0], x[0]);
        for (int r = 0; r < TILE; r++) _mm512_store_si512(to + r * DEEP, (__m512i)x[0][r]);
        return;
    }
    for (int half = 0; half < 2; half++, k += TILE) {
        const float *from = (const float *)m->at;
        if (by_row) vectors_of(from + i * m->row + k, m->row, m->rows - i, mask_of(m->inner, k), x[half]);
        else vectors_of(from + k * m->column + i, m->column, m->inner - k, mask_of(m->rows, i), x[half]);
        if (by_row == right) transpose(x[half], x[half]);
    }
    for (int r = 0; r < TILE; r++) {
        __m512i one[3];
        split_pairs(parts, (__m512)x[0][r], (__m512)x[1][r], one);
        for (int p = 0; p < parts; p++) _mm512_store_si512(to + p * apart + r * DEEP, one[p]);
    }
}

/* Two tiles side by side for the right, of bfloat16 whose columns lie together and are all there. */
INLINE void two_tiles(const Matrix *m, int64_t i, int64_t k, uint16_t *to) {
    const uvec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i low = (__m512i)(lane | (lane + 32) << 16), high = (__m512i)((lane + 16) | (lane + 48) << 16);
    const uint16_t *from = (const uint16_t *)m->at + k * m->column + i;
    for (int r = 0; r < TILE; r++, from += 2 * m->column) {
        const __m512i even = _mm512_loadu_si512(from), odd = _mm512_loadu_si512(from + m->column);
        _mm512_store_si512(to + r * DEEP, _mm512_permutex2var_epi16(even, low, odd));
        _mm512_store_si512(to + WHOLE + r * DEEP, _mm512_permutex2var_epi16(even, high, odd));
    }
}

#define AT(tile, part) (left + (part) * 2 * WHOLE + (tile) * a_tile)
#define FROM(tile, part) (right + (part) * 2 * WHOLE + (tile) * WHOLE)
#define LEFT(part) _tile_loadd(4, AT(0, part), a_row); _tile_loadd(5, AT(1, part), a_row)
#define RIGHT(part) _tile_loadd(6, FROM(0, part), 64); _tile_loadd(7, FROM(1, part), 64)
#define MULTIPLY \
    _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7)

/* Adds to the four tiles of sums; a_row in bytes, a_tile and a_step in bfloat16. Small parts come first.
 * A function of its own: among other code its pointers are in memory, which costs bfloat16 a tenth. */
static __attribute__((noinline)) void steps(int parts, int64_t count, const uint16_t *left, int64_t a_row,
                                            int64_t a_tile, int64_t a_step, const uint16_t *right) {
    if (parts == 1)
        for (int64_t s = 0; s < count; s++, left += a_step, right += 2 * WHOLE) {
            LEFT(0); RIGHT(0); MULTIPLY;
        }
    else if (parts == 2)
        for (int64_t s = 0; s < count; s++, left += a_step, right += 4 * WHOLE) {
            LEFT(0); RIGHT(1); MULTIPLY; RIGHT(0); MULTIPLY; LEFT(1); MULTIPLY;
        }
    else
        for (int64_t s = 0; s < count; s++, left += a_step, right += 6 * WHOLE) {
            LEFT(0); RIGHT(2); MULTIPLY; RIGHT(1); MULTIPLY; LEFT(1); MULTIPLY;
            RIGHT(0); MULTIPLY; LEFT(2); MULTIPLY; LEFT(0); MULTIPLY;
        }
}

/* The four tiles from, or to, a square of 32 by 32 sums. */
#define SUMS(verb, at) \
    { verb(0, at, 128); verb(1, (at) + 16, 128); verb(2, (at) + 512, 128); verb(3, (at) + 528, 128); }
#endif
