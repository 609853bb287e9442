/* One more token of every row of a sampling batch: all layers of a Llama-like model and its head, in one call.
 *
 * It computes what grpokit_hf/nn/token.py computes with torch, and rounds where that rounds. Between the
 * small products of a token torch spends as long on its calls as on arithmetic; here there is one call.
 */
#include "tables.h"
#include <omp.h>

/* mine->in: what a product reads; bfloat16 in pairs of features. */
INLINE void take(const vec *x, int64_t features, int64_t blocks, vec *in, Half half) {
    if (!half) {
        memcpy(in, x, (size_t)(features * blocks) * sizeof(vec));
        return;
    }
    uvec *pairs = (uvec *)in;
    for (int64_t k = 0; k < features / 2; k++)
        for (int64_t n = 0; n < blocks; n++) {
            uvec low = (uvec)x[2 * k * blocks + n], high = (uvec)x[(2 * k + 1) * blocks + n];
            pairs[k * blocks + n] = (low >> 16) | (high & 0xffff0000u);
        }
}

INLINE void normed(const vec *x, const void *weight, float epsilon, int64_t features,
                   int64_t blocks, vec *out, Half half) {
    for (int64_t n = 0; n < blocks; n++) {
        vec sum = {0}, scale;
        for (int64_t i = 0; i < features; i++) sum += x[i * blocks + n] * x[i * blocks + n];
        sum = sum / (float)features + epsilon;
        for (int l = 0; l < LANES; l++) *of_row(&scale, l) = 1.0f / sqrtf(*of_row(&sum, l));
        for (int64_t i = 0; i < features; i++) {
            vec wide = rounded(x[i * blocks + n] * scale, half);
            out[i * blocks + n] = rounded(wide * weight_at(weight, i, half), half);
        }
    }
}

INLINE void product_block(const int O, const int N, const void *w, int64_t inputs, const vec *in,
                          int64_t blocks, vec *out, Half half) {
    vec acc[16] = {0};
    if (half) tile_half(O, N, (const uint16_t *)w, inputs, inputs, (const uvec *)in, blocks, acc);
    else tile_float(O, N, (const float *)w, inputs, 1, inputs, in, blocks, acc);
    for (int o = 0; o < O; o++)
        for (int n = 0; n < N; n++) out[o * blocks + n] = acc[o * N + n];
}

#ifdef __AVX512F__
/* Rows of w from `o` on, O at once, against N blocks; returns the first that is left. */
INLINE int64_t streamed(const int O, const int N, const float *w, int64_t inputs, int64_t o, int64_t to,
                        const vec *in, vec *out) {
    for (int64_t far = STRIDE; far; far = far > 1)
        for (; o + O * far <= to; o += O * far)
            for (int64_t i = o; i < o + far; i++) {
                const int64_t next = i + 1 < o + far ? i + 1 : o + O * far;
                tile_stream(O, N, w + i * inputs, far * inputs, w + next * inputs, inputs, in, out + i * N,
                            far * N);
            }
    return o;
}
#ifdef __AMX_BF16__
INLINE int64_t tiled(const int N, const uint16_t *w, int64_t inputs, int64_t o, int64_t to, const uvec *in,
                     vec *out) {
    for (int64_t far = STRIDE; far; far = far > 1)
        for (; o + 16 * far <= to; o += 16 * far)
            for (int64_t i = o; i < o + far; i++) {
                const int64_t next = i + 1 < o + far ? i + 1 : o + 16 * far;
                tile_amx(N, w + i * inputs, far * inputs, w + next * inputs, inputs, in, out + i * N, far * N);
            }
    return o;
}
#endif

INLINE void product_of(const int N, const void *w, int64_t inputs, int64_t o, int64_t to, const vec *in,
                       vec *out, Half half) {
    const char *at = (const char *)w;
    const int64_t size = half ? 2 : 4;
    const int tall = N > 2 ? 4 : TALL;
    if (!half) o = streamed(N == 4 ? 6 : 8, N, w, inputs, o, to, in, out);
#ifdef __AMX_BF16__
    if (half && tiles_work && inputs % 32 == 0) o = tiled(N, w, inputs, o, to, (const uvec *)in, out);
#endif
    for (; o + tall <= to; o += tall)
        product_block(tall, N, at + o * inputs * size, inputs, in, N, out + o * N, half);
    for (; o < to; o++) product_block(1, N, at + o * inputs * size, inputs, in, N, out + o * N, half);
}
#else /* fewer registers: a block at a time */
INLINE void product_of(const int N, const void *w, int64_t inputs, int64_t from, int64_t to, const vec *in,
                       vec *out, Half half) {
    const char *at = (const char *)w;
    const int64_t size = half ? 2 : 4;
    for (int n = 0; n < N; n++, in++, out++) {
        int64_t o = from;
        for (; o + TALL <= to; o += TALL)
            product_block(TALL, 1, at + o * inputs * size, inputs, in, N, out + o * N, half);
        for (; o < to; o++) product_block(1, 1, at + o * inputs * size, inputs, in, N, out + o * N, half);
    }
}
#endif

/* out[o][n] = rows o of w times `in`, float32; from <= o < to. */
static void product(const void *w, int64_t inputs, int64_t from, int64_t to, const vec *in, int64_t blocks,
                    vec *out, int half) {
#define OF(N) \
    if (blocks == (N)) { \
        if (half) product_of(N, w, inputs, from, to, in, out, 1); \
        else product_of(N, w, inputs, from, to, in, out, 0); \
    }
    OF(1) OF(2) OF(3) OF(4)
#undef OF
}

/* What a stack's adapters read: this thread's share of A x. */
INLINE void lower(const Stack *s, const Mine *mine, int64_t blocks, vec *low, Half half) {
    int64_t from, to, size = half ? 2 : 4;
    share(s->rank, 1, mine, &from, &to);
    const char *down = (const char *)s->weight + s->outputs * s->inputs * size;
    product(down, s->inputs, from, to, mine->in, blocks, low, half);
    for (int64_t i = from * blocks; i < to * blocks; i++) low[i] = rounded(low[i], half);
}

/* What B adds to O outputs, side by side so that none waits for itself. */
INLINE void raised(const int O, const float *up, int64_t stride, int64_t rank, const vec *low,
                   int64_t blocks, vec *more) {
    for (int64_t r = 0; r < rank; r++)
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) more[o] += up[o * stride + r] * low[r * blocks];
}

/* out[o] = W x + b + B A x for from <= o < to, rounded where torch's parts are. */
INLINE void stacked(const Stack *s, int64_t from, int64_t to, const Mine *mine, int64_t blocks,
                    const vec *low, vec *out, Half half) {
    product(s->weight, s->inputs, from, to, mine->in, blocks, out, half);
    int member = 0;
    for (int64_t o = from, some; o < to; o += some) {
        while (member + 1 < s->members && o >= s->end[member]) member++;
        const float *up = s->up + o * s->stride;
        const vec *inner = low + s->first[member] * blocks;
        some = (to < s->end[member] ? to : s->end[member]) - o >= 8 ? 8 : 1;
        for (int64_t n = 0; n < blocks; n++) {
            vec more[8] = {0};
            if (some == 8) raised(8, up, s->stride, s->ranks[member], inner + n, blocks, more);
            else raised(1, up, s->stride, s->ranks[member], inner + n, blocks, more);
            for (int64_t i = 0; i < some; i++) {
                vec *at = out + (o + i) * blocks + n;
                float bias = s->bias ? weight_at(s->bias, o + i, half) : 0.0f;
                *at = rounded(rounded(*at + bias, half) + more[i], half);
            }
        }
    }
}

/* Norms of heads and rotation; queries and keys of a head at a time. New keys go into the cache. */
static inline void rotate(const Call *c, const Layer *y, const Keys *keys, Shared *all,
                          const Mine *mine, Half half) {
    int64_t from, to, b = all->blocks, w = c->width, both = c->heads + c->shared;
    share(both + c->shared, 1, mine, &from, &to);
    for (int64_t h = from; h < to; h++) {
        vec *x = all->read + h * w * b;
        if (h < both && y->query_norm) {
            int query = h < c->heads;
            normed(x, query ? y->query_norm : y->key_norm,
                   (float)(query ? y->query_epsilon : y->key_epsilon), w, b, x, half);
        }
        for (int64_t i = 0; h < both && i < w / 2 * b; i++) {
            const int64_t j = i + w / 2 * b;
            vec one = x[i], two = x[j], less = rounded(two * all->sin[i], half);
            x[i] = rounded(rounded(one * all->cos[i], half) - less, half);
            vec more = rounded(one * all->sin[j], half);
            x[j] = rounded(rounded(two * all->cos[j], half) + more, half);
        }
        if (h < c->heads) continue;
        float *to_cache = h < both ? keys->keys : keys->values;
        int64_t head = (h - c->heads) % c->shared;
        for (int64_t row = 0; row < c->rows; row++) {
            float *place = to_cache + ((row * c->shared + head) * c->room + c->filled) * w;
            for (int64_t i = 0; i < w; i++) place[i] = *of_row(x + i * b, row);
        }
    }
}

/* Over the prompt's keys: scores, their largest and sum by lane; out[i] unnormalised. */
INLINE void attend_prompt(const float *key, const float *value, int64_t count, int64_t w,
                          const vec *query, vec *scores, vec *out, vec *top, vec *total) {
    int64_t k = 0;
    *top = all(-INFINITY), *total = all(0);
    for (; k + TALL <= count; k += TALL) {
        vec acc[16] = {0};
        tile_float(TALL, 1, key + k * w, w, 1, w, query, 1, acc);
        for (int o = 0; o < TALL; o++) scores[k + o] = acc[o], *top = larger(*top, acc[o]);
    }
    for (; k < count; k++) {
        vec acc[16] = {0};
        tile_float(1, 1, key + k * w, w, 1, w, query, 1, acc);
        scores[k] = acc[0], *top = larger(*top, acc[0]);
    }
    for (k = 0; k < count; k++) scores[k] = exponential(scores[k] - *top), *total += scores[k];
    for (int64_t i = 0; i < w; i += TALL) {
        vec acc[16] = {0};
        tile_float(TALL, 1, value + i, 1, w, count, scores, 1, acc);
        for (int o = 0; o < TALL; o++) out[i + o] = acc[o];
    }
}

/* B vectors of the values of `count` keys, by their weights; side by side so that none waits for itself. */
INLINE void mix(const int B, const float *value, int64_t count, int64_t w, const float *weights, vec *mixed) {
    for (int64_t t = 0; t < count; t++)
#pragma GCC unroll 4
        for (int b = 0; b < B; b++) mixed[b] += weights[t] * load(value, t * w + b * LANES, 0);
}

/* Over a row's own keys, added to lane l of what its prompt's gave; 16 numbers of a key at once. */
static void attend_own(const float *key, const float *value, int64_t count, int64_t w,
                       const float *query, float *scores, vec *out, int l, float top, float total) {
    float highest = top;
    for (int64_t t = 0; t < count; t++) {
        vec dot = {0}, k, q;
        for (int64_t i = 0; i < w; i += LANES) {
            memcpy(&k, key + t * w + i, sizeof k);
            memcpy(&q, query + i, sizeof q);
            dot += k * q;
        }
        scores[t] = sum_of(dot);
        if (!(scores[t] <= highest)) highest = scores[t]; /* also where it is NaN */
    }
    float before = expf(top - highest), sum = total * before;
    for (int64_t t = 0; t < count; t += LANES) {
        vec s = all(-INFINITY);
        memcpy(&s, scores + t, sizeof(float) * (size_t)(count - t < LANES ? count - t : LANES));
        s = exponential(s - highest);
        sum += sum_of(s);
        memcpy(scores + t, &s, sizeof(float) * (size_t)(count - t < LANES ? count - t : LANES));
    }
    for (int64_t i = 0, some; i < w; i += some) {
        vec mixed[4] = {0};
        some = w - i < 4 * LANES ? LANES : 4 * LANES;
        if (some == LANES) mix(1, value + i, count, w, scores, mixed);
        else mix(4, value + i, count, w, scores, mixed);
        for (int64_t j = 0; j < some; j++) {
            float *place = of_row(out + i + j, l);
            *place = (*place * before + ((float *)mixed)[j]) / sum;
        }
    }
}

static inline void attend(const Call *c, const Layer *y, const Keys *keys, Shared *all,
                          const Mine *mine, Half half) {
    const int64_t w = c->width, b = all->blocks;
    vec *query = mine->in, *out = mine->in + w;
    float *plain = (float *)mine->plain;
    for (int64_t i = mine->id; i < all->tasks; i += mine->count) {
        const Task *t = all->task + i;
        for (int l = 0; l < LANES; l++) {
            const int from = l < t->count ? l : 0;
            vec *head = all->read + t->query[from] * w * b;
            for (int64_t d = 0; d < w; d++)
                *of_row(query + d, l) = *of_row(head + d * b, t->row[from]) * (float)y->scale;
        }
        const int64_t at = (t->prompt * c->shared + t->head) * c->longest * w;
        vec top, total;
        attend_prompt(keys->prompt_keys + at, keys->prompt_values + at, c->lengths[t->prompt], w,
                      query, mine->scores, out, &top, &total);
        for (int l = 0; l < t->count; l++) {
            const int64_t own = (t->row[l] * c->shared + t->head) * c->room * w;
            for (int64_t d = 0; d < w; d++) plain[d] = *of_row(query + d, l);
            attend_own(keys->keys + own, keys->values + own, c->filled + 1, w, plain,
                       (float *)mine->own, out, l, *of_row(&top, l), *of_row(&total, l));
        }
        for (int64_t d = 0; d < w; d++) {
            out[d] = rounded(out[d], half);
            for (int l = 0; l < t->count; l++)
                *of_row(all->mixed + (t->query[l] * w + d) * b, t->row[l]) = *of_row(out + d, l);
        }
    }
}

/* Adds a stack's outputs to the residual; its inputs are in mine->in. */
INLINE void add(const Stack *s, Shared *all, const Mine *mine, Half half) {
    int64_t from, to, b = all->blocks;
    lower(s, mine, b, all->low, half);
#pragma omp barrier
    share(s->outputs, 16, mine, &from, &to);
    stacked(s, from, to, mine, b, all->low, mine->room, half);
    for (int64_t i = from * b; i < to * b; i++) all->x[i] = rounded(all->x[i] + mine->room[i], half);
#pragma omp barrier
}

INLINE void layer(const Call *c, const Layer *y, const Keys *keys, Shared *all, const Mine *mine,
                  Half half) {
    int64_t from, to, b = all->blocks, middle = y->narrow.inputs;
    normed(all->x, y->before, (float)y->before_epsilon, c->hidden, b, mine->room, half);
    take(mine->room, c->hidden, b, mine->in, half);
    lower(&y->read, mine, b, all->low, half);
#pragma omp barrier
    share(y->read.outputs, 16, mine, &from, &to);
    stacked(&y->read, from, to, mine, b, all->low, all->read, half);
#pragma omp barrier
    rotate(c, y, keys, all, mine, half);
#pragma omp barrier
    attend(c, y, keys, all, mine, half);
#pragma omp barrier
    take(all->mixed, y->write.inputs, b, mine->in, half);
    add(&y->write, all, mine, half);
    normed(all->x, y->between, (float)y->between_epsilon, c->hidden, b, mine->room, half);
    take(mine->room, c->hidden, b, mine->in, half);
    lower(&y->widen, mine, b, all->low, half);
#pragma omp barrier
    share(middle, 16, mine, &from, &to);
    stacked(&y->widen, from, to, mine, b, all->low, mine->room, half);
    stacked(&y->widen, middle + from, middle + to, mine, b, all->low, mine->room, half);
    for (int64_t i = from * b; i < to * b; i++) {
        vec gate = mine->room[i];
        vec silu = rounded(gate / (1.0f + exponential(-gate)), half);
        all->middle[i] = rounded(silu * mine->room[i + middle * b], half);
    }
#pragma omp barrier
    take(all->middle, middle, b, mine->in, half);
    add(&y->narrow, all, mine, half);
}

/* What the head, or whoever asked, reads of the last layer. */
INLINE void finish(const Call *c, Shared *all, const Mine *mine, Half half) {
    int64_t from, to, b = all->blocks;
    normed(all->x, c->norm, (float)c->epsilon, c->hidden, b, mine->room, half);
    if (!c->head) {
        share(c->rows, 1, mine, &from, &to);
        for (int64_t row = from; row < to; row++)
            for (int64_t i = 0; i < c->hidden; i++)
                c->logits[row * c->hidden + i] = *of_row(mine->room + i * b, row);
        return;
    }
    take(mine->room, c->hidden, b, mine->in, half);
    share(c->vocabulary, 64, mine, &from, &to);
    vec *out = mine->room;
    const int64_t size = half ? 2 : 4;
    for (int64_t o = from; o < to; o += 64) {
        const int64_t count = to - o < 64 ? to - o : 64;
        const char *at = (const char *)c->head + o * c->hidden * size;
        product(at, c->hidden, 0, count, mine->in, b, out, half);
        for (int64_t i = 0; i < count * b; i++) out[i] = rounded(out[i], half);
        for (int64_t row = 0; row < c->rows; row++)
            for (int64_t i = 0; i < count; i++)
                c->logits[row * c->vocabulary + o + i] = *of_row(out + i * b, row);
    }
}

/* What a thread does. */
INLINE void compute(const Call *c, Shared *all, const Mine *mine, Half half) {
    if (half) tiles_begin();
    for (int64_t i = 0; i < c->layers; i++) layer(c, c->layer + i, c->keys + i, all, mine, half);
    finish(c, all, mine, half);
    if (half) tiles_end();
}

int64_t grpokit_scratch(const Call *c) {
    Shared all;
    Mine each[c->threads];
    return lay_out(c, &all, each, 0) - (char *)0;
}

void grpokit_token(const Call *c) {
    Shared all;
    Mine each[c->threads];
    lay_out(c, &all, each, c->scratch);
    gather(c, c->x, c->hidden, all.x, (int)c->half);
    gather(c, c->cos, c->width, all.cos, (int)c->half);
    gather(c, c->sin, c->width, all.sin, (int)c->half);
    all.tasks = plan(c, all.task);
    /* Not around the parallel region: it becomes a function to which even a constant is a variable. */
#pragma omp parallel num_threads((int)c->threads)
    {
        Mine *mine = each + omp_get_thread_num();
        mine->id = omp_get_thread_num(), mine->count = omp_get_num_threads();
        if (c->half) compute(c, &all, mine, 1);
        else compute(c, &all, mine, 0);
    }
}

#ifdef __AMX_BF16__
int tiles_work;
#endif
void grpokit_begin(void) { tiles_ask(); }

/* Of the tables, to be compared with those that Python writes. */
int64_t grpokit_size(int64_t table) {
    const int64_t sizes[] = {sizeof(Stack), sizeof(Layer), sizeof(Call)};
    return sizes[table];
}
