/* Attention of a packed sequence in float32, forward and backward, arithmetic of arXiv 2205.14135.
 * Where the processor has AMX, bfloat16 goes to attention_tiles.h, and float32 if it is told to.
 *
 * Up to 64 queries of a row, of all heads that share keys, lie side by side in vectors. Their keys (what the
 * row continues, and its own up to each query) are gathered into one place, so that all products are of
 * small dense matrices. The backward computes the scores again from the log of each query's sum.
 */
#include "attention.h"
#include "attention_tiles.h"
#include <omp.h>

/* Of one thread: keys and values as rows, their gradients; queries and gradients both ways round. */
typedef struct {
    float *key, *value, *dkey, *dvalue, *query_rows, *grad_rows;
    vec *query, *grad, *mixed, *score, *slope;
    const Item *gathered;
    int id;
} Mine;

INLINE int64_t lay_out(const Work *a, int id, Mine *mine) {
    const int64_t w = a->width, rows = a->longest * w / LANES + 1, lanes = WIDE * w;
    vec *at = a->scratch;
    const int64_t size = 4 * rows + 2 * lanes + 3 * lanes + WIDE * (a->longest + SPAN);
    if (!mine) return size * (int64_t)sizeof(vec);
    at += id * size;
    mine->key = (float *)at, at += rows;
    mine->value = (float *)at, at += rows;
    mine->dkey = (float *)at, at += rows;
    mine->dvalue = (float *)at, at += rows;
    mine->query_rows = (float *)at, at += lanes;
    mine->grad_rows = (float *)at, at += lanes;
    mine->query = at, at += lanes;
    mine->grad = at, at += lanes;
    mine->mixed = at, at += lanes;
    mine->score = at, at += WIDE * a->longest;
    mine->slope = at;
    mine->gathered = 0, mine->id = id;
    return size;
}

/* Rows of a table of heads, in float32. */
INLINE void fetch(const void *table, const int64_t *places, int64_t count, int64_t heads, int64_t head,
                  int64_t w, float *to, Half half) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t d = 0; d < w; d += LANES)
            store(to, i * w + d, load(table, (places[i] * heads + head) * w + d, half), 0);
}

/* Fetches what the next item reads and is not there; with 0, only releases. */
INLINE void gather(const Work *a, const Item *t, Mine *mine, Half half) {
    const Item *old = mine->gathered;
    const Kept kept = kept_from(old, t);
    const int64_t w = a->width;
    if (old && a->dk && !kept.own)
        release(a, mine->id, old->head, a->places + old->own_at, old->own, 1.0f,
                mine->dkey + old->prefix * w, mine->dvalue + old->prefix * w);
    if (old && a->dk && !kept.prefix)
        release(a, mine->id, old->head, a->places + old->prefix_at, old->prefix, 1.0f,
                mine->dkey, mine->dvalue);
    mine->gathered = t;
    if (!t) return;
    const int64_t *prefix = a->places + t->prefix_at, *own = a->places + t->own_at;
    if (!kept.prefix) {
        fetch(a->k, prefix, t->prefix, a->shared, t->head, w, mine->key, half);
        fetch(a->v, prefix, t->prefix, a->shared, t->head, w, mine->value, half);
    }
    if (!kept.own) {
        fetch(a->k, own, t->own, a->shared, t->head, w, mine->key + t->prefix * w, half);
        fetch(a->v, own, t->own, a->shared, t->head, w, mine->value + t->prefix * w, half);
    }
}

/* Queries as rows, and side by side; those that are not there are 0. */
INLINE void line_up(const Work *a, const Item *t, const void *table, float scale, const int N,
                    float *rows, vec *lanes, Half half) {
    const int64_t w = a->width;
    memset(rows, 0, (size_t)(N * LANES * w) * 4);
    for (int64_t l = 0; l < t->count; l++) {
        const int64_t at = place_of(a, t, l) * w;
        for (int64_t d = 0; d < w; d += LANES)
            store(rows, l * w + d, load(table, at + d, half) * scale, 0);
    }
    float *to = (float *)lanes;
    for (int64_t d = 0; d < w; d++)
        for (int64_t l = 0; l < N * LANES; l++) to[d * N * LANES + l] = rows[l * w + d];
}

#define EACH(O, i, from, to) for (; i + (O) <= (to); i += (O))

/* out[k][n] = key k times the lanes of x, for keys from .. to. */
INLINE void over_width(const int N, const float *key, int64_t from, int64_t to, int64_t w,
                       const vec *x, vec *out) {
    const int tall = N == 4 ? 4 : TALL;
    int64_t k = from;
    EACH(tall, k, from, to) {
        vec acc[16] = {0};
        tile_float(tall, N, key + k * w, w, 1, w, x, N, acc);
        for (int i = 0; i < tall * N; i++) out[(k - from) * N + i] = acc[i];
    }
    EACH(1, k, from, to) {
        vec acc[16] = {0};
        tile_float(1, N, key + k * w, w, 1, w, x, N, acc);
        for (int i = 0; i < N; i++) out[(k - from) * N + i] = acc[i];
    }
}

/* out[d][n] += sum over keys of value[k][d] x[k][n]. */
INLINE void over_keys(const int N, const float *value, int64_t count, int64_t w, const vec *x, vec *out) {
    const int tall = N == 4 ? 4 : TALL;
    for (int64_t d = 0; d < w; d += tall) {
        vec acc[16];
        for (int i = 0; i < tall * N; i++) acc[i] = out[d * N + i];
        tile_float(tall, N, value + d, 1, w, count, x, N, acc);
        for (int i = 0; i < tall * N; i++) out[d * N + i] = acc[i];
    }
}

/* out[k][d] += sum over lanes of x[k][lane] rows[lane][d]. */
INLINE void over_lanes(const int N, const vec *x, int64_t count, int64_t w, const float *rows, float *out) {
    const int64_t blocks = w / LANES;
    for (int64_t k = 0; k < count; k += 4) {
        const int tall = count - k < 4 ? 1 : 4;
        for (int64_t b = 0; b < blocks; b += WIDE) {
            const int wide = blocks - b < WIDE ? 1 : WIDE;
            for (int64_t o = 0; o < (tall == 4 ? 1 : count - k); o++)
                for (int64_t c = 0; c < (wide == WIDE ? 1 : blocks - b); c++) {
                    vec acc[16];
                    float *to = out + (k + o) * w + (b + c) * LANES;
                    const float *from = (const float *)(x + (k + o) * N);
                    const vec *by = (const vec *)rows + b + c;
                    for (int i = 0; i < tall; i++) memcpy(acc + i * wide, to + i * w, (size_t)wide * 64);
                    if (tall == 4 && wide == WIDE)
                        tile_float(4, WIDE, from, N * LANES, 1, N * LANES, by, blocks, acc);
                    else if (tall == 4) tile_float(4, 1, from, N * LANES, 1, N * LANES, by, blocks, acc);
                    else if (wide == WIDE) tile_float(1, WIDE, from, N * LANES, 1, N * LANES, by, blocks, acc);
                    else tile_float(1, 1, from, N * LANES, 1, N * LANES, by, blocks, acc);
                    for (int i = 0; i < tall; i++) memcpy(to + i * w, acc + i * wide, (size_t)wide * 64);
                }
        }
    }
}

/* Keys after a query's own token get `none`; key 0 of `x` is key `from` of the item. */
INLINE void hide(const Work *a, const Item *t, const int N, int64_t from, int64_t to, vec *x, float none) {
    const int64_t group = a->heads / a->shared;
    int64_t k = t->prefix + t->first / group + 1;
    if (k < from) k = from;
    for (; k < to; k++)
        for (int64_t l = 0; l < N * LANES && (t->first + l) / group < k - t->prefix; l++)
            ((float *)x)[(k - from) * N * LANES + l] = none;
}

INLINE void put(const Work *a, const Item *t, const int N, const vec *x, float scale, void *table, Half half) {
    const int64_t w = a->width;
    for (int64_t l = 0; l < t->count; l++) {
        const int64_t at = place_of(a, t, l) * w;
        for (int64_t d = 0; d < w; d++) {
            const float one = ((const float *)x)[d * N * LANES + l] * scale;
            if (half) ((uint16_t *)table)[at + d] = (uint16_t)(rounded_bits(all(one))[0] >> 16);
            else ((float *)table)[at + d] = one;
        }
    }
}

INLINE void forward(const Work *a, const Item *t, Mine *mine, const int N, Half half) {
    const int64_t w = a->width, keys = keys_of(a, t);
    gather(a, t, mine, half);
    line_up(a, t, a->q, (float)a->scale, N, mine->query_rows, mine->query, half);
    over_width(N, mine->key, 0, keys, w, mine->query, mine->score);
    hide(a, t, N, 0, keys, mine->score, -INFINITY);
    vec top[WIDE], total[WIDE];
    for (int n = 0; n < N; n++) top[n] = mine->score[n], total[n] = all(0);
    for (int64_t i = N; i < keys * N; i++) top[i % N] = larger(top[i % N], mine->score[i]);
    for (int64_t i = 0; i < keys * N; i++) {
        mine->score[i] = exponential(mine->score[i] - top[i % N]);
        total[i % N] += mine->score[i];
    }
    memset(mine->mixed, 0, (size_t)(w * N) * sizeof(vec));
    over_keys(N, mine->value, keys, w, mine->score, mine->mixed);
    for (int64_t i = 0; i < w * N; i++) mine->mixed[i] = mine->mixed[i] / total[i % N];
    put(a, t, N, mine->mixed, 1.0f, a->out, half);
    for (int64_t l = 0; l < t->count; l++)
        a->norm[place_of(a, t, l)] = ((float *)top)[l] + logf(((float *)total)[l]);
}

INLINE void backward(const Work *a, const Item *t, Mine *mine, const int N, Half half) {
    const int64_t w = a->width, keys = keys_of(a, t);
    vec norm[WIDE] = {0}, common[WIDE] = {0};
    gather(a, t, mine, half);
    line_up(a, t, a->grad, 1.0f, N, mine->grad_rows, mine->grad, half);
    line_up(a, t, a->out, 1.0f, N, mine->query_rows, mine->mixed, half);
    for (int64_t i = 0; i < w * N; i++) common[i % N] += mine->grad[i] * mine->mixed[i];
    line_up(a, t, a->q, (float)a->scale, N, mine->query_rows, mine->query, half);
    for (int64_t l = 0; l < t->count; l++) ((float *)norm)[l] = a->norm[place_of(a, t, l)];
    memset(mine->mixed, 0, (size_t)(w * N) * sizeof(vec));
    for (int64_t from = 0; from < keys; from += SPAN) {
        const int64_t to = from + SPAN < keys ? from + SPAN : keys, count = to - from;
        vec *p = mine->score, *ds = mine->slope;
        over_width(N, mine->key, from, to, w, mine->query, p);
        over_width(N, mine->value, from, to, w, mine->grad, ds);
        for (int64_t i = 0; i < count * N; i++) p[i] = exponential(p[i] - norm[i % N]);
        hide(a, t, N, from, to, p, 0.0f);
        for (int64_t i = 0; i < count * N; i++) ds[i] = (ds[i] - common[i % N]) * p[i];
        over_lanes(N, p, count, w, mine->grad_rows, mine->dvalue + from * w);
        over_lanes(N, ds, count, w, mine->query_rows, mine->dkey + from * w);
        over_keys(N, mine->key + from * w, count, w, ds, mine->mixed);
    }
    put(a, t, N, mine->mixed, (float)a->scale, a->dq, half);
}

INLINE void item(const Work *a, const Item *t, Mine *mine, const int N, Half half) {
    if (a->dk) backward(a, t, mine, N, half);
    else forward(a, t, mine, N, half);
}

INLINE void items(const Work *a, int64_t id, Half half) {
    Mine mine;
    lay_out(a, (int)id, &mine);
    if (a->dk) memset(mine.dkey, 0, (size_t)((char *)mine.query_rows - (char *)mine.dkey));
    for (int64_t i = a->bounds[id]; i < a->bounds[id + 1]; i++) {
        const Item *t = a->item + i;
#if WIDE == 4
        if (t->count > 2 * LANES) item(a, t, &mine, 4, half);
        else if (t->count > LANES) item(a, t, &mine, 2, half);
        else
#endif
            item(a, t, &mine, 1, half);
    }
    gather(a, 0, &mine, half);
}

/* A parallel region becomes a function of its own, so what is constant is named within it. */
static void run(const Work *a) {
#pragma omp parallel num_threads((int)a->threads)
    for (int64_t id = omp_get_thread_num(); id < a->threads; id += omp_get_num_threads())
        if (a->half) items(a, id, 1);
        else items(a, id, 0);
}

int64_t grpokit_attention_lanes(void) { return WIDE * LANES; }
int64_t grpokit_attention_scratch(const Work *a) {
    return a->threads * (in_tiles(a) ? tiled_lay_out(a, 0, 0) : lay_out(a, 0, 0));
}
void grpokit_attention(const Work *a) {
    if (in_tiles(a)) run_tiled(a);
    else run(a);
}
