/* Attention in AMX tiles: products of bfloat16, sums and exponentials in float32.
 *
 * Items are those of attention.c, and a query's scores lie in one lane here too. Weights, and in the
 * backward the scores' gradients, are rounded to bfloat16 before they are multiplied (as in FlashAttention);
 * what weights are divided by is their sum before that. A float32 number is the sum of three bfloat16, as
 * in products.c: nothing else is rounded then.
 */
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#include "attention_rows.h"
#include <omp.h>

INLINE int in_tiles(const Work *a) {
    return parts_of(a) && tiles_work && a->width % 32 == 0 && a->scale > 0;
}

/* to[key][lane] of 32 keys: their rows times the lanes. */
INLINE void times_lanes(Parts parts, const int N, const Tiled *mine, const uint16_t *rows, int64_t w,
                        const uvec *lanes, vec *to) {
    const Factor keys = {rows, w * 2, w * 32, 64, mine->many * BYTES};
    for (int n = 0; n < N; n += 2) {
        const Factor x = {lanes + n * TILE, BYTES, 1024, N * 1024, mine->wide * BYTES};
        four_tiles(parts, keys, x, w / 32, (Sums){to + n * TILE, BYTES, N * 1024, 1024}, 0);
    }
}

/* mixed[feature][query] of keys from .. to; `pairs` begins at from. */
INLINE void times_keys(Parts parts, const int N, const Tiled *mine, int64_t from, int64_t to, int64_t w,
                       const uvec *pairs, const int add) {
    for (int64_t d = 0; d < w; d += 32)
        for (int n = 0; n < N; n += 2) {
            const Factor turned = {mine->turned + from / KEYS * w + d, BYTES, 1024, w * BYTES,
                                   mine->many * BYTES};
            const Factor x = {pairs + n * TILE, BYTES, 1024, N * 1024, mine->held * BYTES};
            const Sums sums = {mine->mixed + d * N + n * TILE, BYTES, N * 1024, 1024};
            four_tiles(parts, turned, x, (to - from + KEYS - 1) / KEYS, sums, add);
        }
}

/* to[key][feature] += of 32 keys, over the queries. */
INLINE void times_queries(Parts parts, const int N, const Tiled *mine, const uvec *p, const uvec *rows, int64_t w,
                          float *to) {
    const Factor left = {p, BYTES, N * 512, 1024, WIDE * TILE * BYTES};
    for (int64_t d = 0; d < w; d += 32) {
        const Factor right = {rows + d, BYTES, 1024, w * BYTES, mine->wide * BYTES};
        four_tiles(parts, left, right, N / 2, (Sums){to + d, w * 4, w * 64, 64}, 1);
    }
}

INLINE vec shown(vec x, int64_t key, ivec last, float none) {
    return choose((ivec)all(0) + (int32_t)key <= last, x, all(none));
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

/* Scores of 32 keys become weights, packed in pairs of keys. */
INLINE void weigh(Parts parts, const int N, const Tiled *mine, const vec *score, float unit, const vec *top,
                  vec *total, uvec *pairs) {
    for (int64_t n = 0; n < N; n += 2) {
        vec sum[2] = {total[n], total[n + 1]};
        for (int64_t k = 0; k < KEYS; k += 2) {
            uvec words[2][6];
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const vec a = power(score[score_at(N, k + i, n)] * unit - top[n]);
                const vec b = power(score[score_at(N, k + i, n + 1)] * unit - top[n + 1]);
                sum[0] += a, sum[1] += b;
                words_of(parts, a, b, words[i]);
            }
            put_pairs(parts, words[0], words[1], pairs + n * TILE + k / 2, mine->held);
        }
        total[n] = sum[0], total[n + 1] = sum[1];
    }
}

/* Of 32 keys: weights p and the scores' gradients ds, by queries; ds in pairs of keys as well. */
INLINE void slopes(Parts parts, const int N, const Tiled *mine, int64_t from, float unit, const vec *norm,
                   const vec *common, uvec *pairs, const int hides) {
    for (int64_t n = 0; n < N; n += 2)
        for (int64_t k = 0; k < KEYS; k += 2) {
            uvec weights[6], slope[2][6];
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                const int64_t to = score_at(N / 2, k + i, n / 2);
                vec p[2], ds[2];
#pragma GCC unroll 2
                for (int h = 0; h < 2; h++) {
                    const int64_t at = score_at(N, k + i, n + h);
                    p[h] = power(mine->score[at] * unit - norm[n + h]);
                    ds[h] = (mine->slope[at] - common[n + h]) * p[h];
                    if (hides) p[h] = shown(p[h], from + k + i, mine->last[n + h], 0.0f);
                    if (hides) ds[h] = shown(ds[h], from + k + i, mine->last[n + h], 0.0f);
                }
                words_of(parts, p[0], p[1], weights);
                words_of(parts, ds[0], ds[1], slope[i]);
                put_row(parts, weights, mine->p + to, WIDE * TILE);
                put_row(parts, slope[i], mine->ds + to, WIDE * TILE);
            }
            put_pairs(parts, slope[0], slope[1], pairs + n * TILE + k / 2, mine->held);
        }
}

#define LOG2E 1.4426950408889634f

INLINE void tiled_forward(Parts parts, const Work *a, const Item *t, Tiled *mine, const int N) {
    const int64_t w = a->width, keys = keys_of(a, t);
    const float unit = (float)a->scale * LOG2E;
    vec top[WIDE], total[WIDE] = {0};
    take(parts, N, t, mine, a->q, w);
    line_pairs(parts, N, mine, w, mine->query);
    for (int n = 0; n < N; n++) top[n] = all(-INFINITY);
    for (int64_t from = 0; from < keys; from += KEYS) {
        vec *score = mine->score + from * N;
        times_lanes(parts, N, mine, mine->key + from * w, w, mine->query, score);
        if (from + KEYS > *(int32_t *)mine->last + 1) find_top(N, score, from, mine->last, top, 1);
        else find_top(N, score, from, mine->last, top, 0);
    }
    for (int n = 0; n < N; n++) top[n] *= unit;
    for (int64_t from = 0; from < keys; from += KEYS)
        weigh(parts, N, mine, mine->score + from * N, unit, top, total, mine->pairs + from / 2 * N);
    times_keys(parts, N, mine, 0, keys, w, mine->pairs, 0);
    for (int64_t l = 0; l < t->count; l++)
        a->norm[mine->at[l]] = ((float *)top)[l] / LOG2E + logf(((float *)total)[l]);
    for (int n = 0; n < N; n++) total[n] = 1.0f / total[n];
    hand_out(parts, N, t, mine, w, total, a->out);
}

/* What a query's gradient and result have in common. */
INLINE void common_part(Half half, const int N, const Work *a, const Item *t, const Tiled *mine, vec *common) {
    const int64_t w = a->width;
    for (int n = 0; n < N; n++) {
        vec x[TILE] = {0}, sum = {0};
        for (int i = 0; i < TILE && n * LANES + i < t->count; i++)
            for (int64_t d = 0, at = mine->at[n * LANES + i] * w; d < w; d += LANES)
                x[i] += load(a->grad, at + d, half) * load(a->out, at + d, half);
        transpose((uvec *)x, (uvec *)x);
        for (int i = 0; i < TILE; i++) sum += x[i];
        common[n] = sum;
    }
}

/* Queries and their gradients, both ways round. */
INLINE void both_ways(Parts parts, const Work *a, const Item *t, Tiled *mine, vec *common, const int N) {
    const int64_t w = a->width;
    take(parts, N, t, mine, a->grad, w);
    common_part(parts == 1, N, a, t, mine, common);
    line_pairs(parts, N, mine, w, mine->grad);
    row_pairs(parts, N, mine, w, mine->grad_rows);
    take(parts, N, t, mine, a->q, w);
    line_pairs(parts, N, mine, w, mine->query);
    row_pairs(parts, N, mine, w, mine->query_rows);
}

INLINE void tiled_backward(Parts parts, const Work *a, const Item *t, Tiled *mine, const int N) {
    const int64_t w = a->width, keys = keys_of(a, t);
    const float unit = (float)a->scale * LOG2E;
    vec norm[WIDE] = {0}, common[WIDE], factor[WIDE];
    both_ways(parts, a, t, mine, common, N);
    for (int64_t l = 0; l < t->count; l++) ((float *)norm)[l] = a->norm[mine->at[l]] * LOG2E;
    for (int64_t span = 0; span < keys; span += SPAN) {
        const int64_t to = span + SPAN < keys ? span + SPAN : keys;
        for (int64_t from = span; from < to; from += KEYS) {
            uvec *pairs = mine->pairs + (from - span) / 2 * N;
            times_lanes(parts, N, mine, mine->key + from * w, w, mine->query, mine->score);
            times_lanes(parts, N, mine, mine->value + from * w, w, mine->grad, mine->slope);
            if (from + KEYS > *(int32_t *)mine->last + 1)
                slopes(parts, N, mine, from, unit, norm, common, pairs, 1);
            else slopes(parts, N, mine, from, unit, norm, common, pairs, 0);
            times_queries(parts, N, mine, mine->p, mine->grad_rows, w, mine->dvalue + from * w);
            times_queries(parts, N, mine, mine->ds, mine->query_rows, w, mine->dkey + from * w);
        }
        times_keys(parts, N, mine, span, to, w, mine->pairs, span > 0);
    }
    for (int n = 0; n < N; n++) factor[n] = all((float)a->scale);
    hand_out(parts, N, t, mine, w, factor, a->dq);
}

INLINE void tiled_item(Parts parts, const Work *a, const Item *t, Tiled *mine, const int N) {
    tiled_gather(parts, a, t, mine);
    find_places(a, t, mine);
    if (a->dk) tiled_backward(parts, a, t, mine, N);
    else tiled_forward(parts, a, t, mine, N);
}

INLINE void items_in_tiles(Parts parts, const Work *a, int64_t id) {
    Tiled mine;
    tiled_lay_out(a, (int)id, &mine);
    for (int64_t i = a->bounds[id]; i < a->bounds[id + 1]; i++) {
        const Item *t = a->item + i;
        if (t->count > 2 * LANES) tiled_item(parts, a, t, &mine, 4);
        else tiled_item(parts, a, t, &mine, 2);
    }
    tiled_gather(parts, a, 0, &mine);
}

/* A parallel region becomes a function of its own, so what is constant is named within it. */
static void run_tiled(const Work *a) {
#pragma omp parallel num_threads((int)a->threads)
    {
        tiles_begin();
        for (int64_t id = omp_get_thread_num(); id < a->threads; id += omp_get_num_threads())
            if (a->half) items_in_tiles(1, a, id);
            else items_in_tiles(3, a, id);
        tiles_end();
    }
}
#else
INLINE int in_tiles(const Work *a) { return a->half * 0; }
INLINE int64_t tiled_lay_out(const Work *a, int id, void *mine) { return a && mine ? id : 0; }
INLINE void run_tiled(const Work *a) { (void)a; }
#endif
