/* Log-probs of tokens from hidden states x and a head w, and d log p / dx, without logits in memory.
 *
 * It is attention with the head's rows as keys and as values: for a block of the vocabulary, whose tiles for
 * both products are made once and stay in the second cache, 32 tokens at a time are multiplied with it, their
 * exponentials taken relative to the largest logit so far, and those multiplied with the block again. Threads
 * have parts of the vocabulary, whose sums are added at the end; many threads have parts of the tokens too.
 */
#include "pack.h"
#include <omp.h>

/* logprob[i] = log softmax(scale x w')[i][target[i]]; norm: of what is divided by, the logarithm. */
typedef struct {
    int64_t parts, threads, rows, inner, vocabulary, x_row, w_row, slope_row;
    double scale;
    const void *x, *w;
    const int64_t *target;
    float *logprob, *norm, *entropy; /* no entropy, and no slope, where they are 0 */
    void *slope;
    char *scratch;
} Head;

#ifdef WHOLE
#define CACHE (900 << 10)  /* bytes of a block's tiles */
#define HELD (1280 << 10)  /* numbers of hidden states that are multiplied with a block */
#define ACROSS 4           /* parts of the vocabulary at most: each has slopes of its own */
#define SQUARE 1024        /* sums of 32 tokens by 32 columns */
#define LOG2E 1.44269504088896341f
#define LOWEST -3.0e38f    /* finite, so that what is impossible is further below it than it from itself */

/* Of 32 tokens: the largest logit, lanes of the sums of e^(z - high) and of that times z - high. */
typedef struct { float high[32], target[32]; vec total[32], first[32]; } Found;

typedef struct {
    int64_t steps, panels, span;   /* 32 of inner; of the vocabulary, in all and in a block */
    int64_t blocks, held;          /* 32 of tokens, in all and at a time */
    int64_t across, down;          /* parts of the vocabulary and of the tokens */
    int64_t unit, wide, own_size;  /* bfloat16 of a step and of a block's tiles for a product; bytes */
    uint16_t *left;                /* tiles of x */
    Found *sums;                    /* of each part of the vocabulary */
    float *slope;                  /* the same: squares for each 32 of inner */
    char *own;                     /* of a thread: tiles of w for logits, then for slopes; logits; exponentials */
    Matrix x, rows, columns;
} Plan;

INLINE int64_t up(int64_t x, int64_t unit) { return (x + unit - 1) / unit; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static char *plan(const Head *h, Plan *t, char *at) {
    t->x = (Matrix){h->x, h->rows, h->inner, h->x_row, 1};
    t->rows = (Matrix){h->w, h->vocabulary, h->inner, h->w_row, 1};
    t->columns = (Matrix){h->w, h->inner, h->vocabulary, 1, h->w_row};
    t->steps = up(h->inner, DEEP), t->panels = up(h->vocabulary, 32), t->blocks = up(h->rows, 32);
    t->across = least(least(h->threads, ACROSS), t->panels);
    while (h->threads % t->across) t->across--;
    t->down = h->threads / t->across;
    t->held = least(t->blocks, most(up(HELD / h->inner, 32), t->down));
    t->unit = h->parts * 2 * WHOLE;
    t->span = least(most(2, CACHE / (t->steps * t->unit * 4)), up(t->panels, t->across));
    t->wide = t->span * t->steps * t->unit;
    t->own_size = (h->slope ? 4 : 2) * t->wide + t->span * (SQUARE * 4 + t->unit * 2);
    t->left = (uint16_t *)at, at += t->held * t->steps * t->unit * 2;
    t->sums = (Found *)at, at += t->across * t->held * (int64_t)sizeof(Found);
    t->slope = (float *)at, at += h->slope ? t->across * t->held * t->steps * SQUARE * 4 : 0;
    t->own = at;
    return at + h->threads * t->own_size;
}

/* A square of sums from `count` steps of tiles, added to what is there or not. Small parts come first. */
INLINE void square(Parts parts, int64_t count, const uint16_t *left, const uint16_t *right, float *to,
                   const int add) {
    __asm__ volatile("" ::: "memory"); /* loads of tiles do not tell a compiler that they read */
    if (add) SUMS(_tile_loadd, to)
    else { _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); }
    steps(parts, count, left, 64, WHOLE, parts * 2 * WHOLE, right);
    SUMS(_tile_stored, to)
    __asm__ volatile("" ::: "memory");
}

/* Both tiles of a step, of rows 32 i .. and numbers k .. */
INLINE void both_tiles(Parts parts, const int right, const Matrix *m, int64_t i, int64_t k, uint16_t *to) {
    for (int half = 0; half < 2; half++)
        tile_of(parts, right, m, i * 32 + half * 16, k, to + half * WHOLE, 2 * WHOLE);
}

/* The tiles of `wide` times 32 entries of the vocabulary, from `from` times 32: for logits, and for slopes. */
INLINE void pack_block(Parts parts, const Head *h, const Plan *t, int64_t from, int64_t wide, uint16_t *to) {
    for (int64_t c = 0; c < wide; c++)
        for (int64_t s = 0; s < t->steps; s++)
            both_tiles(parts, 1, &t->rows, from + c, s * DEEP, to + (c * t->steps + s) * t->unit);
    if (!h->slope) return;
    to += t->wide;
    for (int64_t c = 0; c < wide; c++)
        for (int64_t s = 0; s < t->steps; s++)
            both_tiles(parts, 1, &t->columns, s, (from + c) * DEEP, to + (s * t->span + c) * t->unit);
}

/* Row r of 32: its logits become exponentials, in tiles if they are multiplied; the sums grow. */
INLINE void exponentials(Parts parts, const Head *h, float *logits, int64_t count, int r, Found *sums,
                         uint16_t *to, const int entropy, float *factor) {
    const float scale = (float)h->scale, old = sums->high[r];
    vec top = all(LOWEST), total[2] = {0}, first[2] = {0};
    const float *from = logits + r * 32;
    for (int64_t c = 0; c < count; c++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++)
            top = (vec)_mm512_max_ps(*(const __m512 *)(from + c * SQUARE + i * 16), (__m512)top);
    const float reached = _mm512_reduce_max_ps((__m512)top) * scale, high = reached > old ? reached : old;
    for (int64_t c = 0; c < count; c++) {
        vec e[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            vec d = *(const vec *)(from + c * SQUARE + i * 16) * scale - high;
            e[i] = power(d * LOG2E);
            total[i] += e[i];
            /* So that what is impossible adds 0 to the entropy, not NaN. */
            if (entropy) first[i] += e[i] * (vec)_mm512_max_ps((__m512)all(-1e30f), (__m512)d);
        }
        if (!h->slope) continue;
        __m512i x[3];
        if (parts == 1) x[0] = (__m512i)both(e[0], e[1]);
        else split_pairs(parts, (__m512)e[0], (__m512)e[1], x);
        for (int p = 0; p < parts; p++)
            _mm512_store_si512(to + c * parts * 2 * WHOLE + (p * 2 + r / 16) * WHOLE + r % 16 * DEEP, x[p]);
    }
    const float by = high == old ? 1.0f : expf(old - high);
    if (entropy) sums->first[r] = (sums->first[r] + sums->total[r] * (old - high)) * by + (first[0] + first[1]);
    sums->total[r] = sums->total[r] * by + (total[0] + total[1]);
    *factor = by;
    sums->high[r] = high;
}

/* Tokens m .. m + 32, and entries from `from` times 32 of the vocabulary, whose tiles are at `block`. */
INLINE void tokens(Parts parts, const Head *h, const Plan *t, int64_t from, int64_t wide, const uint16_t *block,
                   int64_t m, const uint16_t *left, Found *sums, float *slope) {
    float *logits = (float *)(block + (h->slope ? 2 : 1) * t->wide), factor[32];
    uint16_t *weights = (uint16_t *)(logits + t->span * SQUARE);
    const int64_t last = h->vocabulary - from * 32, rows = least(32, h->rows - m);
    for (int64_t c = 0; c < wide; c++)
        square(parts, t->steps, left, block + c * t->steps * t->unit, logits + c * SQUARE, 0);
    int same = 1;
    for (int r = 0; r < rows; r++) {
        const int64_t target = h->target[m + r] - from * 32;
        for (int64_t v = last; v < wide * 32; v++) logits[v / 32 * SQUARE + r * 32 + v % 32] = -INFINITY;
        if (target >= 0 && target < wide * 32)
            sums->target[r] = logits[target / 32 * SQUARE + r * 32 + target % 32] * (float)h->scale;
        if (h->entropy) exponentials(parts, h, logits, wide, r, sums, weights, 1, factor + r);
        else exponentials(parts, h, logits, wide, r, sums, weights, 0, factor + r);
        same &= factor[r] == 1.0f;
    }
    if (!h->slope) return;
    block += t->wide;
    for (int64_t s = 0; s < t->steps; s++, slope += SQUARE, block += t->span * t->unit) {
        for (int r = 0; r < rows && !same; r++)
            for (int i = 0; i < 2; i++) ((vec *)slope)[r * 2 + i] *= factor[r];
        square(parts, wide, weights, block, slope, 1);
    }
}

/* Adds the sums of the vocabulary's other parts to those of the first. */
INLINE void merge(const Head *h, const Plan *t, int64_t b) {
    Found *to = t->sums + b;
    float *slope = t->slope + b * t->steps * SQUARE;
    for (int64_t i = 1; i < t->across; i++) {
        const Found *sums = to + i * t->held;
        const float *more = slope + i * t->held * t->steps * SQUARE;
        for (int r = 0; r < 32; r++) {
            const float high = to->high[r] > sums->high[r] ? to->high[r] : sums->high[r];
            const float a = to->high[r] - high, b = sums->high[r] - high, by_a = expf(a), by_b = expf(b);
            to->first[r] = (to->first[r] + to->total[r] * a) * by_a + (sums->first[r] + sums->total[r] * b) * by_b;
            to->total[r] = to->total[r] * by_a + sums->total[r] * by_b;
            to->target[r] += sums->target[r];
            to->high[r] = high;
            for (int64_t s = 0; h->slope && s < t->steps * 2; s++) {
                vec *at = (vec *)(slope + s / 2 * SQUARE + r * 32) + s % 2;
                *at = *at * by_a + ((const vec *)(more + s / 2 * SQUARE + r * 32))[s % 2] * by_b;
            }
        }
    }
}

/* d log p / dx of token m. */
INLINE void put_slope(const Head *h, int64_t m, const float *sums, float total) {
    const int half = h->parts == 1;
    const int64_t row = h->target[m] * h->w_row, out = m * h->slope_row;
    const float scale = (float)h->scale;
    int64_t k = 0;
    for (; k + LANES <= h->inner; k += LANES) {
        const vec sum = *(const vec *)(sums + k / 32 * SQUARE + k % 32);
        store(h->slope, out + k, (load(h->w, row + k, half) - sum / total) * scale, half);
    }
    for (; k < h->inner; k++) {
        const float one = (weight_at(h->w, row + k, half) - sums[k / 32 * SQUARE + k % 32] / total) * scale;
        if (half) ((uint16_t *)h->slope)[out + k] = (uint16_t)(rounded_bits(all(one))[0] >> 16);
        else ((float *)h->slope)[out + k] = one;
    }
}

/* What is asked for of 32 tokens. */
INLINE void finish(const Head *h, const Plan *t, int64_t m, int64_t b) {
    const Found *sums = t->sums + b;
    merge(h, t, b);
    for (int64_t r = 0; r < least(32, h->rows - m); r++) {
        const float total = sum_of(sums->total[r]), log_total = logf(total);
        h->norm[m + r] = sums->high[r] + log_total;
        h->logprob[m + r] = sums->target[r] - sums->high[r] - log_total;
        if (h->entropy) h->entropy[m + r] = log_total - sum_of(sums->first[r]) / total;
        if (h->slope) put_slope(h, m + r, t->slope + b * t->steps * SQUARE + r * 32, total);
    }
}

/* A thread's part of the vocabulary for its part of `count` blocks of tokens, which begin at `first`. */
INLINE void part(Parts parts, const Head *h, const Plan *t, int64_t id, int64_t first, int64_t count) {
    const int64_t i = id % t->across, j = id / t->across;
    const int64_t top = count * j / t->down, bottom = count * (j + 1) / t->down;
    const int64_t end = t->panels * (i + 1) / t->across;
    uint16_t *block = (uint16_t *)(t->own + id * t->own_size);
    Found *sums = t->sums + i * t->held;
    float *slope = t->slope + i * t->held * t->steps * SQUARE;
    for (int64_t b = top; b < bottom; b++) {
        memset(sums + b, 0, sizeof(Found));
        for (int r = 0; r < 32; r++) sums[b].high[r] = LOWEST;
        if (h->slope) memset(slope + b * t->steps * SQUARE, 0, (size_t)(t->steps * SQUARE * 4));
    }
    for (int64_t v = t->panels * i / t->across; v < end; v += t->span) {
        const int64_t wide = least(t->span, end - v);
        pack_block(parts, h, t, v, wide, block);
        for (int64_t b = top; b < bottom; b++)
            tokens(parts, h, t, v, wide, block, (first + b) * 32, t->left + b * t->steps * t->unit, sums + b,
                   slope + b * t->steps * SQUARE);
    }
}

/* What each thread does. */
INLINE void share(Parts parts, const Head *h, const Plan *t) {
    const int64_t id = omp_get_thread_num(), all = omp_get_num_threads();
    tiles_begin();
    for (int64_t first = 0; first < t->blocks; first += t->held) {
        const int64_t count = least(t->held, t->blocks - first), begin = count * id / all;
        for (int64_t b = begin; b < count * (id + 1) / all; b++)
            for (int64_t s = 0; s < t->steps; s++)
                both_tiles(parts, 0, &t->x, first + b, s * DEEP, t->left + (b * t->steps + s) * t->unit);
#pragma omp barrier
        for (int64_t i = id; i < h->threads; i += all) part(parts, h, t, i, first, count);
#pragma omp barrier
        for (int64_t b = begin; b < count * (id + 1) / all; b++) finish(h, t, (first + b) * 32, b);
    }
    tiles_end();
}

int64_t grpokit_head_scratch(const Head *h) {
    Plan t;
    return plan(h, &t, 0) - (char *)0;
}
void grpokit_head(const Head *h) {
    Plan t;
    plan(h, &t, h->scratch);
    /* Not around the parallel region: it becomes a function to which even a constant is a variable. */
#pragma omp parallel num_threads((int)h->threads)
    if (h->parts == 1) share(1, h, &t);
    else if (h->parts == 2) share(2, h, &t);
    else share(3, h, &t);
}
#else
int64_t grpokit_head_scratch(const Head *h) { return h->threads; }
void grpokit_head(const Head *h) { (void)h; }
#endif
