/* Matrix products by AMX tiles: of bfloat16, and of float32 in two or three bfloat16 parts.
 *
 * A thread takes columns of the result and puts what belongs to them into tiles once, as many as its second
 * cache holds; then come blocks of 32 rows, each against 32 columns: four tiles of sums. Sums of a number do
 * not depend on the threads, nor on other rows.
 */
#include "pack.h"
#include <omp.h>

/* out[m][n] = sum over k of a[m][k] b[n][k], plus bias[n]. With an adapter of rank `more`, first
 * c[m][r] = sum over k of a[m][k] e[r][k], rounded to the type of a; then c[m][r] d[n][r] is added. */
typedef struct {
    int64_t parts, threads, rows, inner, outputs, more, wide; /* wide: out is float32 in any case */
    int64_t a_row, a_column, b_row, b_column, d_row, d_column, e_row, e_column;
    const void *a, *b, *d, *e, *bias;
    void *c, *out;
    char *scratch;
} Product;

#ifdef WHOLE
#define CACHE (1000 << 10) /* bytes of tiles that a thread keeps */
#define LONGEST 3456       /* bytes of a column that are multiplied at a time */

typedef struct {
    int64_t steps, more, span, blocks, panels, chunk, down, across; /* 32 numbers; rows; columns */
    int direct;              /* a is read where it stands */
    int few;                 /* rows: b is put into tiles for one block of them */
    uint16_t *left, *extra;  /* tiles of a and c: block, step, part, upper and lower */
    char *own;               /* of a thread: tiles of b and d; sums */
    int64_t own_size;
    Matrix a, b, c, d;
} Plan;

INLINE int64_t up(int64_t x, int64_t unit) { return (x + unit - 1) / unit; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static char *plan(const Product *p, Plan *t, char *left, char *at) {
    const int64_t step = 64 * p->parts; /* bytes of a column in 32 numbers */
    t->a = (Matrix){p->a, p->rows, p->inner, p->a_row, p->a_column};
    t->b = (Matrix){p->b, p->outputs, p->inner, p->b_row, p->b_column};
    t->c = (Matrix){p->c, p->rows, p->more, p->more, 1};
    t->d = (Matrix){p->d, p->outputs, p->more, p->d_row, p->d_column};
    t->steps = up(p->inner, DEEP), t->more = up(p->more, DEEP);
    t->span = up(t->steps, up(t->steps * step, LONGEST));
    t->blocks = up(p->rows, 32), t->panels = up(p->outputs, 32);
    t->direct = p->parts == 1 && p->a_column == 1 && p->inner % DEEP == 0 && p->rows >= 32;
    t->across = least(p->threads, t->panels);
    while (p->threads % t->across) t->across--;
    t->down = p->threads / t->across;
    t->chunk = CACHE / ((t->span + t->more) * step * 32);
    t->chunk = least(t->chunk < 1 ? 1 : t->chunk, up(t->panels, t->across));
    t->left = (uint16_t *)left;
    t->extra = (uint16_t *)at, at += t->blocks * t->more * p->parts * 2048;
    t->own = at;
    t->own_size = t->chunk * ((t->span + t->more) * p->parts * 2048);
    t->few = t->blocks == 1 && !t->direct && !t->more;
    if (t->few) t->own_size = p->parts * 2048 + up(t->panels, t->across) * 4096;
    else if (t->span < t->steps) t->own_size += t->chunk * t->blocks * 4096;
    return at + p->threads * t->own_size;
}

/* 32 by 32 sums, of which `count` rows and `wide` columns are there, into the result. */
INLINE void put(Parts parts, const Product *p, const float *sums, int64_t m, int64_t count, int64_t n,
                int64_t wide) {
    const uint32_t there = mask_of(wide, 0);
    __m512 low = _mm512_setzero_ps(), high = low;
    if (p->bias && parts == 1) {
        __m512i x = _mm512_maskz_loadu_epi16(there, (const uint16_t *)p->bias + n);
        low = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16);
        high = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16);
    } else if (p->bias) {
        low = _mm512_maskz_loadu_ps((__mmask16)there, (const float *)p->bias + n);
        high = _mm512_maskz_loadu_ps((__mmask16)(there >> 16), (const float *)p->bias + n + 16);
    }
    for (int64_t i = 0; i < count; i++, sums += 32) {
        __m512 a = _mm512_load_ps(sums) + low, b = _mm512_load_ps(sums + 16) + high;
        const int64_t at = (m + i) * p->outputs + n;
        if (parts == 1 && !p->wide) {
            _mm512_mask_storeu_epi16((uint16_t *)p->out + at, there, (__m512i)_mm512_cvtne2ps_pbh(b, a));
            continue;
        }
        _mm512_mask_storeu_ps((float *)p->out + at, (__mmask16)there, a);
        if (there >> 16) _mm512_mask_storeu_ps((float *)p->out + at + 16, (__mmask16)(there >> 16), b);
    }
}

/* A block of rows against a panel of columns; from .. to are steps of 32 numbers. */
INLINE void block(Parts parts, const Product *p, const Plan *t, int64_t b, int64_t n, int64_t from,
                  int64_t to, const uint16_t *right, float *sums) {
    float plain[1024] __attribute__((aligned(64)));
    __asm__ volatile("" ::: "memory"); /* loads of tiles do not tell a compiler that they read */
    const int64_t m = t->direct ? least(b * 32, p->rows - 32) : b * 32, unit = parts * 2 * WHOLE;
    if (from) SUMS(_tile_loadd, sums)
    else { _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); }
    if (t->direct) {
        const uint16_t *a = (const uint16_t *)p->a + m * p->a_row + from * DEEP;
        steps(parts, to - from, a, p->a_row * 2, 16 * p->a_row, DEEP, right);
    } else
        steps(parts, to - from, t->left + (b * t->steps + from) * unit, 64, WHOLE, unit, right);
    if (to < t->steps) {
        SUMS(_tile_stored, sums)
        return;
    }
    if (t->more) steps(parts, t->more, t->extra + b * t->more * unit, 64, WHOLE, unit, right + (to - from) * unit);
    SUMS(_tile_stored, plain)
    __asm__ volatile("" ::: "memory");
    put(parts, p, plain, m, least(32, p->rows - m), n * 32, least(32, p->outputs - n * 32));
}

/* Both tiles of steps from .. to, of rows i .. i + 32; of float32, rows are read further before the next. */
INLINE void both_tiles(Parts parts, const int right, const Matrix *m, int64_t i, int64_t from, int64_t to,
                       uint16_t *at) {
    const int64_t count = to - from, wide = parts == 1 ? 2 : 1;
    for (int64_t first = 0; first < 2; first += wide)
        for (int64_t s = 0; s < count; s++)
            for (int64_t half = first; half < first + wide; half++)
                tile_of(parts, right, m, i + half * 16, (from + s) * DEEP,
                        at + (s * parts * 2 + half) * WHOLE, 2 * WHOLE);
}
/* This thread's part of the tiles of `m`, for the left. */
INLINE void prepare(Parts parts, const Matrix *m, int64_t blocks, int64_t count, int64_t moved, uint16_t *to) {
    const int64_t id = omp_get_thread_num(), all = omp_get_num_threads(), unit = parts * 2 * WHOLE;
    for (int64_t i = blocks * id / all; i < blocks * (id + 1) / all; i++)
        both_tiles(parts, 0, m, i * 32 - (i == blocks - 1 ? moved : 0), 0, count, to + i * count * unit);
}
INLINE void pack(Parts parts, const Matrix *m, int64_t n, int64_t from, int64_t to, uint16_t *at) {
    const int whole = parts == 1 && m->column != 1 && n * 32 + 32 <= m->rows;
    for (; whole && from < least(to, m->inner / DEEP); from++, at += 2 * WHOLE)
        two_tiles(m, n * 32, from * DEEP, at);
    both_tiles(parts, 1, m, n * 32, from, to, at);
}
/* The tiles of `count` panels from n on, numbers in the order in which they lie. */
INLINE void pack_chunk(Parts parts, const Plan *t, int64_t n, int64_t count, int64_t from, int64_t to,
                       uint16_t *at) {
    const int64_t unit = parts * 2 * WHOLE, panel = (t->span + t->more) * unit;
    const int64_t by = t->b.column == 1 ? to - from : 1;
    for (int64_t s = from; s < to; s += by)
        for (int64_t c = 0; c < count; c++)
            pack(parts, &t->b, n + c, s, s + by, at + c * panel + (s - from) * unit);
    for (int64_t c = 0; c < count && to == t->steps; c++)
        pack(parts, &t->d, n + c, 0, t->more, at + c * panel + (to - from) * unit);
}

/* Few rows: what is multiplied once is put into tiles as it comes, rows of b from end to end. */
INLINE void thin(Parts parts, const Product *p, const Plan *t, int64_t first, int64_t end, char *own) {
    const int64_t unit = parts * 2 * WHOLE;
    uint16_t *right = (uint16_t *)own;
    float *sums = (float *)(own + 2 * unit);
    for (int64_t s = 0; s < t->steps; s++)
        for (int64_t n = first; n < end; n++) {
            float *at = sums + (n - first) * 1024;
            pack(parts, &t->b, n, s, s + 1, right);
            __asm__ volatile("" ::: "memory");
            if (s) SUMS(_tile_loadd, at)
            else { _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); }
            steps(parts, 1, t->left + s * unit, 64, WHOLE, unit, right);
            SUMS(_tile_stored, at)
        }
    __asm__ volatile("" ::: "memory");
    for (int64_t n = first; n < end; n++)
        put(parts, p, sums + (n - first) * 1024, 0, p->rows, n * 32, least(32, p->outputs - n * 32));
}

INLINE void columns(Parts parts, const Product *p, const Plan *t, int64_t id) {
    const int64_t i = id % t->across, j = id / t->across, unit = parts * 2 * WHOLE;
    const int64_t end = t->panels * (i + 1) / t->across;
    const int64_t top = t->blocks * j / t->down, bottom = t->blocks * (j + 1) / t->down;
    uint16_t *right = (uint16_t *)(t->own + id * t->own_size);
    const int64_t panel = (t->span + t->more) * unit;
    float *sums = (float *)(right + t->chunk * panel);
    if (t->few && top < bottom) thin(parts, p, t, t->panels * i / t->across, end, t->own + id * t->own_size);
    if (t->few) return;
    for (int64_t n = t->panels * i / t->across; n < end; n += t->chunk) {
        const int64_t count = least(t->chunk, end - n);
        for (int64_t from = 0; from < t->steps; from += t->span) {
            const int64_t to = least(from + t->span, t->steps);
            pack_chunk(parts, t, n, count, from, to, right);
            for (int64_t b = top; b < bottom; b++)
                for (int64_t c = 0; c < count; c++)
                    block(parts, p, t, b, n + c, from, to, right + c * panel, sums + (b * count + c) * 1024);
        }
    }
}

INLINE void each(Parts parts, const Product *p, const Plan *t) {
    for (int64_t id = omp_get_thread_num(); id < p->threads; id += omp_get_num_threads())
        columns(parts, p, t, id);
}

/* What is read of an adapter: out is c, of the same a. */
INLINE Product reader(const Product *p) {
    Product low = *p;
    low.outputs = p->more, low.b_row = p->e_row, low.b_column = p->e_column, low.b = p->e;
    low.out = p->c, low.bias = 0, low.more = low.wide = 0;
    return low;
}

/* Both products beneath each other in scratch; returns its end. */
INLINE char *plans(const Product *p, const Product *low, Plan *t, Plan *tl) {
    char *at = p->scratch;
    plan(p, t, at, at);
    if (!t->direct) at += t->blocks * t->steps * p->parts * 2048;
    char *end = plan(p, t, p->scratch, at);
    if (!p->more) return end;
    char *other = plan(low, tl, p->scratch, at); /* its tiles come before those of the other */
    return other > end ? other : end;
}

/* What each thread does. */
INLINE void share(Parts parts, const Product *p, const Plan *t, const Product *low, const Plan *tl) {
    if (!t->direct) prepare(parts, &t->a, t->blocks, t->steps, 0, t->left);
#pragma omp barrier
    tiles_begin();
    if (t->more) {
        each(parts, low, tl);
#pragma omp barrier
        prepare(parts, &t->c, t->blocks, t->more, t->direct ? t->blocks * 32 - p->rows : 0, t->extra);
#pragma omp barrier
    }
    each(parts, p, t);
    tiles_end();
}

/* Whether this processor and system have tiles. */
int64_t grpokit_products(void) { return tiles_work; }
int64_t grpokit_product_scratch(const Product *p) {
    Plan t, tl;
    const Product low = reader(p);
    return plans(p, &low, &t, &tl) - p->scratch;
}
void grpokit_product(const Product *p) {
    Plan t, tl;
    const Product low = reader(p);
    plans(p, &low, &t, &tl);
    /* Not around the parallel region: it becomes a function to which even a constant is a variable. */
#pragma omp parallel num_threads((int)p->threads)
    if (p->parts == 1) share(1, p, &t, &low, &tl);
    else if (p->parts == 2) share(2, p, &t, &low, &tl);
    else share(3, p, &t, &low, &tl);
}
#else
int64_t grpokit_products(void) { return 0; }
int64_t grpokit_product_scratch(const Product *p) { return p->threads; }
void grpokit_product(const Product *p) { (void)p; }
#endif
