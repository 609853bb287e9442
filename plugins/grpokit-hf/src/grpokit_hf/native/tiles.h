/* Products of bfloat16 in AMX tiles, and what brings numbers into their order. */
#pragma once

#define TILE 16  /* vectors of a tile */
#define KEYS 32  /* keys of a step: what one product of two tiles sums over */
#define BYTES 64 /* of a vector */

typedef const int Parts; /* bfloat16 that stand for a number, whose sum is it */

/* Tiles of a factor. Bytes from row to row, to the next 16 rows (of x: columns), to the next 32 of the sum, to
 * the next part. */
typedef struct { const void *at; int64_t row, apart, step, part; } Factor;
/* Of a product: to the next 16 rows, to the next 16 columns. */
typedef struct { void *at; int64_t row, below, beside; } Sums;

/* Part i of w and part j of x, times each other; what is loaded already is not loaded again. */
#define LOAD_W(tile, i, below) _tile_loadd(tile, wa + (i) * w.part + (below) * w.apart, w.row)
#define LOAD_X(tile, i, beside) _tile_loadd(tile, xa + (i) * x.part + (beside) * x.apart, x.row)
#define BOTH_PARTS(i, j) \
    LOAD_W(4, i, 0); LOAD_X(6, j, 0); _tile_dpbf16ps(0, 4, 6); LOAD_X(7, j, 1); _tile_dpbf16ps(1, 4, 7); \
    LOAD_W(5, i, 1); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7)
#define OTHER_X(j) \
    LOAD_X(6, j, 0); _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6); \
    LOAD_X(7, j, 1); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7)
#define OTHER_W(i) \
    LOAD_W(4, i, 0); _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); \
    LOAD_W(5, i, 1); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7)

/* 32 rows of w by 32 columns of x, over `steps` times 32 numbers, of one part or three; small ones come first. */
INLINE void four_tiles(Parts parts, Factor w, Factor x, int64_t steps, Sums to, const int add) {
    const char *wa = w.at, *xa = x.at;
    char *t = to.at;
    __asm__ volatile("" ::: "memory"); /* loads of tiles do not tell a compiler that they read */
    if (add) {
        _tile_loadd(0, t, to.row); _tile_loadd(1, t + to.beside, to.row);
        t += to.below;
        _tile_loadd(2, t, to.row); _tile_loadd(3, t + to.beside, to.row);
        t -= to.below;
    } else {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    }
    for (int64_t s = 0; s < steps; s++, wa += w.step, xa += x.step)
        if (parts == 1) {
            BOTH_PARTS(0, 0);
        } else {
            BOTH_PARTS(0, 2); OTHER_X(1); OTHER_W(1); OTHER_X(0); OTHER_W(2); OTHER_W(0);
        }
    _tile_stored(0, t, to.row); _tile_stored(1, t + to.beside, to.row);
    t += to.below;
    _tile_stored(2, t, to.row); _tile_stored(3, t + to.beside, to.row);
    __asm__ volatile("" ::: "memory");
}

/* Two vectors as bfloat16, one after another. */
INLINE uvec both(vec first, vec second) {
    return (uvec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

/* Numbers of two rows as pairs. */
INLINE uvec pairs_of(const uint16_t *low, const uint16_t *high) {
    halves a, b;
    memcpy(&a, low, sizeof a), memcpy(&b, high, sizeof b);
    return __builtin_convertvector(a, uvec) | __builtin_convertvector(b, uvec) << 16;
}

/* Rows become columns: blocks of 8, 4, 2 and 1 change places. */
INLINE void transpose(const uvec *from, uvec *to) {
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uvec x[TILE];
    for (int i = 0; i < TILE; i++) x[i] = from[i];
#pragma GCC unroll 4
    for (int s = 8; s; s /= 2) {
        const ivec odd = (lane & s) != 0;
        const ivec upper = (odd & (lane - s + 16)) | (~odd & lane);
        const ivec lower = (odd & (lane + 16)) | (~odd & (lane + s));
#pragma GCC unroll 16
        for (int i = 0; i < TILE; i++)
            if (!(i & s)) {
                const __m512i a = (__m512i)x[i], b = (__m512i)x[i + s];
                x[i] = (uvec)_mm512_permutex2var_epi32(a, (__m512i)upper, b);
                x[i + s] = (uvec)_mm512_permutex2var_epi32(a, (__m512i)lower, b);
            }
    }
    for (int i = 0; i < TILE; i++) to[i] = x[i];
}
