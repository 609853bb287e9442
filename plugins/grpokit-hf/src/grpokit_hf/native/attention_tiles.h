/* Attention of bfloat16 in AMX tiles: products of bfloat16, sums and exponentials in float32.
 *
 * Items are those of attention.c, and a query's scores lie in one lane here too. Weights, and in the
 * backward the scores' gradients, are rounded to bfloat16 before they are multiplied (as in FlashAttention);
 * what weights are divided by is their sum before that. Numbers lie in tiles of 16 vectors, one after
 * another; keys are a whole number of 32, and those that are not there are 0 and hidden.
 */
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#include "tiles.h"
#include <omp.h>

INLINE int in_tiles(const Work *a) { return a->half && tiles_work && a->width % 32 == 0 && a->scale > 0; }
INLINE int64_t whole(int64_t keys) { return (keys + KEYS - 1) / KEYS * KEYS; }

/* Of one thread. */
typedef struct {
    uint16_t *key, *value, *rows;    /* rows: queries, or what stands in their places */
    uvec *turned;                    /* features by keys: of values in a forward, of keys in a backward */
    uvec *query, *grad;              /* pairs of features, a query in each lane */
    uvec *query_rows, *grad_rows;    /* pairs of queries, a feature in each lane */
    uvec *pairs, *p, *ds;            /* weights and scores' gradients: pairs of keys, and keys by queries */
    float *dkey, *dvalue;
    vec *score, *slope, *mixed;      /* of 32 keys by queries (a forward's of all keys); features by queries */
    const Item *gathered;
    int64_t at[WIDE * LANES]; /* of the item's queries, in a table of (tokens, heads) */
    ivec last[WIDE];          /* key that each of them sees */
    int id;
} Tiled;

static int64_t tiled_lay_out(const Work *a, int id, Tiled *mine) {
    const int back = a->dk != 0;
    const int64_t w = a->width, longest = whole(a->longest), rows = longest * w / 32, lanes = WIDE * w / 2;
    const int64_t held = longest < SPAN ? longest : SPAN;
    const int64_t sizes[] = {
        rows, rows, lanes, rows, lanes, back * lanes, back * lanes, back * lanes,
        back * WIDE * held / 2, back * WIDE * TILE, back * WIDE * TILE, back * 2 * rows, back * 2 * rows,
        WIDE * (back ? KEYS : longest), back * WIDE * KEYS, 2 * lanes};
    int64_t size = 0;
    for (int i = 0; i < 16; i++) size += sizes[i];
    if (!mine) return size * (int64_t)sizeof(vec);
    void *part[16];
    vec *at = a->scratch + id * size;
    for (int i = 0; i < 16; at += sizes[i++]) part[i] = at;
    *mine = (Tiled){
        .key = part[0], .value = part[1], .rows = part[2], .turned = part[3], .query = part[4],
        .grad = part[5], .query_rows = part[6], .grad_rows = part[7], .pairs = part[8], .p = part[9],
        .ds = part[10], .dkey = part[11], .dvalue = part[12], .score = part[13], .slope = part[14],
        .mixed = part[15], .id = id};
    if (back) memset(mine->dkey, 0, (size_t)(rows * 4 * BYTES));
    return size;
}

/* Rows of a table, and zeros until `until`. */
INLINE void collect(const void *table, const int64_t *places, int64_t times, int64_t plus, int64_t count,
                    int64_t until, int64_t w, uint16_t *to) {
    for (int64_t i = 0; i < count; i++) {
        const uint16_t *from = (const uint16_t *)table + (places[i] * times + plus) * w;
        for (int64_t d = 0; d < w; d += 32) memcpy(to + i * w + d, from + d, BYTES);
    }
    memset(to + count * w, 0, (size_t)((until - count) * w) * 2);
}

/* Rows from .. to, as features by rows. */
INLINE void turn(const uint16_t *rows, int64_t from, int64_t to, int64_t w, uvec *turned) {
    for (int64_t k = from; k < to; k += KEYS)
        for (int64_t d = 0; d < w; d += LANES) {
            uvec x[TILE];
            for (int i = 0; i < TILE; i++)
                x[i] = pairs_of(rows + (k + 2 * i) * w + d, rows + (k + 2 * i + 1) * w + d);
            transpose(x, turned + k / KEYS * w + d);
        }
}

/* Fetches what the next item reads and is not there; with 0, only releases. Keys that are not there have
 * gradients as well, of 0 or NaN, which a longer row must not find. */
static void tiled_gather(const Work *a, const Item *t, Tiled *mine) {
    const Item *old = mine->gathered;
    const Kept kept = kept_from(old, t);
    const int64_t w = a->width;
    if (old && a->dk && !kept.own) {
        float *dkey = mine->dkey + old->prefix * w, *dvalue = mine->dvalue + old->prefix * w;
        const int64_t end = old->prefix + old->own, rest = (whole(end) - end) * w * 4;
        release(a, mine->id, old->head, a->places + old->own_at, old->own, (float)a->scale, dkey, dvalue);
        memset(dkey + old->own * w, 0, (size_t)rest);
        memset(dvalue + old->own * w, 0, (size_t)rest);
    }
    if (old && a->dk && !kept.prefix)
        release(a, mine->id, old->head, a->places + old->prefix_at, old->prefix, (float)a->scale,
                mine->dkey, mine->dvalue);
    mine->gathered = t;
    if (!t || kept.own) return;
    const int64_t *prefix = a->places + t->prefix_at, *own = a->places + t->own_at;
    const int64_t until = whole(t->prefix + t->own), shared = a->shared;
    for (int i = 0; i < 2; i++) {
        const void *table = i ? a->v : a->k;
        uint16_t *rows = i ? mine->value : mine->key;
        if (!kept.prefix) collect(table, prefix, shared, t->head, t->prefix, t->prefix, w, rows);
        collect(table, own, shared, t->head, t->own, until - t->prefix, w, rows + t->prefix * w);
    }
    turn(a->dk ? mine->key : mine->value, kept.prefix ? t->prefix / KEYS * KEYS : 0, until, w, mine->turned);
}

/* mine->rows in pairs of features, one query in each lane. */
INLINE void line_pairs(const int N, const Tiled *mine, int64_t w, uvec *lanes) {
    for (int64_t d = 0; d < w; d += 32)
        for (int n = 0; n < N; n++) {
            uvec x[TILE];
            for (int i = 0; i < TILE; i++) memcpy(x + i, mine->rows + (n * LANES + i) * w + d, BYTES);
            transpose(x, lanes + (d / 32 * N + n) * TILE);
        }
}

/* mine->rows in pairs of queries. */
INLINE void row_pairs(const int N, const Tiled *mine, int64_t w, uvec *to) {
    for (int64_t l = 0; l < N * LANES; l += 2)
        for (int64_t d = 0; d < w; d += LANES)
            to[l / 32 * w + d + l % 32 / 2] = pairs_of(mine->rows + l * w + d, mine->rows + (l + 1) * w + d);
}

/* to[key][lane] of 32 keys: their rows times the lanes. */
INLINE void times_lanes(const int N, const uint16_t *rows, int64_t w, const uvec *lanes, vec *to) {
    const Factor keys = {rows, w * 2, w * 32, 64};
    for (int n = 0; n < N; n += 2) {
        const Factor x = {lanes + n * TILE, BYTES, 1024, N * 1024};
        four_tiles(keys, x, w / 32, (Sums){to + n * TILE, BYTES, N * 1024, 1024}, 0);
    }
}

/* mixed[feature][query] of keys from .. to; `pairs` begins at from. */
INLINE void times_keys(const int N, const Tiled *mine, int64_t from, int64_t to, int64_t w, const uvec *pairs,
                       const int add) {
    for (int64_t d = 0; d < w; d += 32)
        for (int n = 0; n < N; n += 2) {
            const Factor turned = {mine->turned + from / KEYS * w + d, BYTES, 1024, w * BYTES};
            const Factor x = {pairs + n * TILE, BYTES, 1024, N * 1024};
            const Sums sums = {mine->mixed + d * N + n * TILE, BYTES, N * 1024, 1024};
            four_tiles(turned, x, (to - from + KEYS - 1) / KEYS, sums, add);
        }
}

/* to[key][feature] += of 32 keys, over the queries. */
INLINE void times_queries(const int N, const uvec *p, const uvec *rows, int64_t w, float *to) {
    for (int64_t d = 0; d < w; d += 32)
        four_tiles((Factor){p, BYTES, N * 512, 1024}, (Factor){rows + d, BYTES, 1024, w * BYTES}, N / 2,
                   (Sums){to + d, w * 4, w * 64, 64}, 1);
}

/* Two keys by 32 queries become two vectors of pairs. The processor takes every other four queries for the
 * lower one: its lane j is query from_lane(j, 0), that of the upper one from_lane(j, 1). */
INLINE int64_t from_lane(int64_t j, int64_t upper) { return j / 4 * 8 + upper * 4 + j % 4; }
INLINE uvec lower_pairs(const uvec *x) { return (uvec)_mm512_unpacklo_epi16((__m512i)x[0], (__m512i)x[1]); }
INLINE uvec upper_pairs(const uvec *x) { return (uvec)_mm512_unpackhi_epi16((__m512i)x[0], (__m512i)x[1]); }

/* Where queries stand, and the last key that each sees; without divisions, which are slow. */
INLINE void find_places(const Work *a, const Item *t, Tiled *mine) {
    const int64_t group = a->heads / a->shared;
    int64_t token = t->first / group, head = t->first % group;
    for (int64_t l = 0; l < WIDE * LANES; l++) {
        if (l < t->count) mine->at[l] = a->places[t->own_at + token] * a->heads + t->head * group + head;
        ((int32_t *)mine->last)[l] = (int32_t)(t->prefix + token);
        if (l + 1 < t->count && ++head == group) head = 0, token++;
    }
}
INLINE vec shown(vec x, int64_t key, ivec last, float none) {
    return choose((ivec)all(0) + (int32_t)key <= last, x, all(none));
}

/* x[feature][query] as rows of a table; x times factor, that of each query. */
INLINE void hand_out(const int N, const Item *t, const Tiled *mine, int64_t w, const vec *factor, void *table) {
    for (int64_t d = 0; d < w; d += 32)
        for (int n = 0; n < N; n++) {
            vec by;
            uvec x[TILE], found[TILE];
            for (int j = 0; j < LANES; j++)
                ((float *)&by)[j] = ((const float *)(factor + n / 2 * 2))[from_lane(j, n % 2)];
            for (int i = 0; i < TILE; i++) {
                const int64_t feature = d + 2 * i;
                const vec *at = mine->mixed + (feature / TILE * N + n) * TILE + feature % TILE;
                const uvec two = both(at[0] * by, at[1] * by);
                uint16_t both_rows[32];
                memcpy(both_rows, &two, BYTES);
                x[i] = pairs_of(both_rows, both_rows + LANES);
            }
            transpose(x, found);
            for (int j = 0; j < LANES; j++) {
                const int64_t l = n / 2 * 32 + from_lane(j, n % 2);
                if (l < t->count) memcpy((uint16_t *)table + mine->at[l] * w + d, found + j, BYTES);
            }
        }
}

/* Where key k of 32 lies in scores of N blocks, for block n. */
INLINE int64_t score_at(const int N, int64_t k, int64_t n) { return (k / TILE * N + n) * TILE + k % TILE; }

/* Hides what a query does not see of 32 scores from key `from` on, and raises each query's largest. */
INLINE void find_top(const int N, vec *score, int64_t from, const ivec *last, vec *top, const int hides) {
    for (int64_t n = 0; n < N; n++) {
        vec high = top[n];
        for (int64_t k = 0; k < KEYS; k++) {
            vec *at = score + score_at(N, k, n);
            if (hides) *at = shown(*at, from + k, last[n], -INFINITY);
            high = (vec)_mm512_max_ps((__m512)high, (__m512)*at);
        }
        top[n] = high;
    }
}

/* Scores of 32 keys become weights, packed in pairs of keys; `pairs` may begin where `score` does. */
INLINE void weigh(const int N, const vec *score, float unit, const vec *top, vec *total, uvec *pairs) {
    for (int64_t n = 0; n < N; n += 2) {
        vec sum[2] = {total[n], total[n + 1]};
        for (int64_t k = 0; k < KEYS; k += 2) {
            uvec packed[2];
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const vec a = power(score[score_at(N, k + i, n)] * unit - top[n]);
                const vec b = power(score[score_at(N, k + i, n + 1)] * unit - top[n + 1]);
                sum[0] += a, sum[1] += b;
                packed[i] = both(a, b);
            }
            pairs[n * TILE + k / 2] = lower_pairs(packed);
            pairs[(n + 1) * TILE + k / 2] = upper_pairs(packed);
        }
        total[n] = sum[0], total[n + 1] = sum[1];
    }
}

/* Of 32 keys: weights p and the scores' gradients ds, by queries; ds in pairs of keys as well. */
INLINE void slopes(const int N, const Tiled *mine, int64_t from, float unit, const vec *norm, const vec *common,
                   uvec *pairs, const int hides) {
    for (int64_t n = 0; n < N; n += 2)
        for (int64_t k = 0; k < KEYS; k += 2) {
            uvec *packed = mine->ds + score_at(N / 2, k, n / 2);
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                vec p[2], ds[2];
#pragma GCC unroll 2
                for (int h = 0; h < 2; h++) {
                    const int64_t at = score_at(N, k + i, n + h);
                    p[h] = power(mine->score[at] * unit - norm[n + h]);
                    ds[h] = (mine->slope[at] - common[n + h]) * p[h];
                    if (hides) p[h] = shown(p[h], from + k + i, mine->last[n + h], 0.0f);
                    if (hides) ds[h] = shown(ds[h], from + k + i, mine->last[n + h], 0.0f);
                }
                mine->p[score_at(N / 2, k + i, n / 2)] = both(p[0], p[1]);
                packed[i] = both(ds[0], ds[1]);
            }
            pairs[n * TILE + k / 2] = lower_pairs(packed);
            pairs[(n + 1) * TILE + k / 2] = upper_pairs(packed);
        }
}

#define LOG2E 1.4426950408889634f

/* Queries' rows of a table. */
INLINE void take(const int N, const Item *t, const Tiled *mine, const void *table, int64_t w) {
    collect(table, mine->at, 1, 0, t->count, N * LANES, w, mine->rows);
}

INLINE void tiled_forward(const Work *a, const Item *t, Tiled *mine, const int N) {
    const int64_t w = a->width, keys = keys_of(a, t);
    const float unit = (float)a->scale * LOG2E;
    vec top[WIDE], total[WIDE] = {0};
    take(N, t, mine, a->q, w);
    line_pairs(N, mine, w, mine->query);
    for (int n = 0; n < N; n++) top[n] = all(-INFINITY);
    for (int64_t from = 0; from < keys; from += KEYS) {
        vec *score = mine->score + from * N;
        times_lanes(N, mine->key + from * w, w, mine->query, score);
        if (from + KEYS > *(int32_t *)mine->last + 1) find_top(N, score, from, mine->last, top, 1);
        else find_top(N, score, from, mine->last, top, 0);
    }
    for (int n = 0; n < N; n++) top[n] *= unit;
    for (int64_t from = 0; from < keys; from += KEYS)
        weigh(N, mine->score + from * N, unit, top, total, (uvec *)mine->score + from / 2 * N);
    times_keys(N, mine, 0, keys, w, (uvec *)mine->score, 0);
    for (int64_t l = 0; l < t->count; l++)
        a->norm[mine->at[l]] = ((float *)top)[l] / LOG2E + logf(((float *)total)[l]);
    for (int n = 0; n < N; n++) total[n] = 1.0f / total[n];
    hand_out(N, t, mine, w, total, a->out);
}

/* What a query's gradient (as rows) and result have in common. */
INLINE void common_part(const int N, const Work *a, const Item *t, const Tiled *mine, vec *common) {
    const int64_t w = a->width;
    for (int n = 0; n < N; n++) {
        vec x[TILE] = {0}, sum = {0};
        for (int i = 0; i < TILE && n * LANES + i < t->count; i++)
            for (int64_t d = 0; d < w; d += LANES)
                x[i] += load(mine->rows, (n * LANES + i) * w + d, 1)
                      * load(a->out, mine->at[n * LANES + i] * w + d, 1);
        transpose((uvec *)x, (uvec *)x);
        for (int i = 0; i < TILE; i++) sum += x[i];
        common[n] = sum;
    }
}

INLINE void tiled_backward(const Work *a, const Item *t, Tiled *mine, const int N) {
    const int64_t w = a->width, keys = keys_of(a, t);
    const float unit = (float)a->scale * LOG2E;
    vec norm[WIDE] = {0}, common[WIDE], factor[WIDE];
    take(N, t, mine, a->grad, w);
    common_part(N, a, t, mine, common);
    line_pairs(N, mine, w, mine->grad);
    row_pairs(N, mine, w, mine->grad_rows);
    take(N, t, mine, a->q, w);
    line_pairs(N, mine, w, mine->query);
    row_pairs(N, mine, w, mine->query_rows);
    for (int64_t l = 0; l < t->count; l++) ((float *)norm)[l] = a->norm[mine->at[l]] * LOG2E;
    for (int64_t span = 0; span < keys; span += SPAN) {
        const int64_t to = span + SPAN < keys ? span + SPAN : keys;
        for (int64_t from = span; from < to; from += KEYS) {
            uvec *pairs = mine->pairs + (from - span) / 2 * N;
            times_lanes(N, mine->key + from * w, w, mine->query, mine->score);
            times_lanes(N, mine->value + from * w, w, mine->grad, mine->slope);
            if (from + KEYS > *(int32_t *)mine->last + 1)
                slopes(N, mine, from, unit, norm, common, pairs, 1);
            else slopes(N, mine, from, unit, norm, common, pairs, 0);
            times_queries(N, mine->p, mine->grad_rows, w, mine->dvalue + from * w);
            times_queries(N, mine->ds, mine->query_rows, w, mine->dkey + from * w);
        }
        times_keys(N, mine, span, to, w, mine->pairs, span > 0);
    }
    for (int n = 0; n < N; n++) factor[n] = all((float)a->scale);
    hand_out(N, t, mine, w, factor, a->dq);
}

INLINE void tiled_item(const Work *a, const Item *t, Tiled *mine, const int N) {
    tiled_gather(a, t, mine);
    find_places(a, t, mine);
    if (a->dk) tiled_backward(a, t, mine, N);
    else tiled_forward(a, t, mine, N);
}

static void run_tiled(const Work *a) {
#pragma omp parallel num_threads((int)a->threads)
    {
        tiles_begin();
        for (int64_t id = omp_get_thread_num(); id < a->threads; id += omp_get_num_threads()) {
            Tiled mine;
            tiled_lay_out(a, (int)id, &mine);
            for (int64_t i = a->bounds[id]; i < a->bounds[id + 1]; i++) {
                const Item *t = a->item + i;
                if (t->count > 2 * LANES) tiled_item(a, t, &mine, 4);
                else tiled_item(a, t, &mine, 2);
            }
            tiled_gather(a, 0, &mine);
        }
        tiles_end();
    }
}
#else
INLINE int in_tiles(const Work *a) { return a->half * 0; }
INLINE int64_t tiled_lay_out(const Work *a, int id, void *mine) { return a && mine ? id : 0; }
INLINE void run_tiled(const Work *a) { (void)a; }
#endif
