/* What attention in float32 (attention.c) and in tiles (attention_tiles.h) have in common. */
#include "lanes.h"

#ifdef __AVX512F__
#define WIDE 4 /* blocks of 16 queries at once */
#else
#define WIDE 1
#endif
#define SPAN 512 /* keys whose scores a backward holds */

/* Queries first .. first + count of a row (token times group + head) with one key head. */
typedef struct { int64_t prefix_at, prefix, own_at, own, head, first, count; } Item;

typedef struct {
    int64_t half, tiles, threads, heads, shared, width, tokens, longest;
    const int64_t *places, *bounds; /* bounds: items of each thread; tiles: float32 is multiplied in them */
    const Item *item;
    const void *q, *k, *v; /* (tokens, heads or shared, width) */
    void *out;
    float *norm;           /* (tokens, heads): log of each query's sum */
    const void *grad;
    void *dq;
    float *dk, *dv; /* (threads, tokens, shared, width) */
    vec *scratch;
    double scale;
} Work;

/* Which of an item's keys the last one left gathered: those of the same prefix, and also its own. */
typedef struct { int prefix, own; } Kept;

INLINE Kept kept_from(const Item *old, const Item *t) {
    Kept kept = {0};
    const int same_head = old && t && old->head == t->head;
    kept.prefix = same_head && old->prefix_at == t->prefix_at && old->prefix == t->prefix;
    kept.own = kept.prefix && old->own_at == t->own_at;
    return kept;
}

/* Adds the gradients of `count` keys to thread id's table, keys' times `scale`, and begins anew. */
static void release(const Work *a, int id, int64_t head, const int64_t *places, int64_t count, float scale,
                    float *dkey, float *dvalue) {
    const int64_t w = a->width, all = id * a->tokens * a->shared * w;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = all + (places[i] * a->shared + head) * w;
        for (int64_t d = 0; d < w; d += LANES) {
            store(a->dk, at + d, load(a->dk, at + d, 0) + load(dkey, i * w + d, 0) * scale, 0);
            store(a->dv, at + d, load(a->dv, at + d, 0) + load(dvalue, i * w + d, 0), 0);
        }
    }
    memset(dkey, 0, (size_t)(count * w) * 4);
    memset(dvalue, 0, (size_t)(count * w) * 4);
}

/* Where query l of an item stands in a table of (tokens, heads). */
INLINE int64_t place_of(const Work *a, const Item *t, int64_t l) {
    const int64_t group = a->heads / a->shared, at = t->first + l;
    return a->places[t->own_at + at / group] * a->heads + t->head * group + at % group;
}

/* Those that the last query of an item sees. */
INLINE int64_t keys_of(const Work *a, const Item *t) {
    return t->prefix + (t->first + t->count - 1) / (a->heads / a->shared) + 1;
}
