/* What attention in tiles reads and writes: rows of tables as tiles of bfloat16, in parts, and back.
 *
 * Numbers lie in tiles of 16 vectors, one after another, and all of a part before those of the next; keys
 * are a whole number of 32, and those that are not there are 0 and hidden.
 */
#include "pack.h"

/* 0: not in tiles. */
INLINE int64_t parts_of(const Work *a) { return a->half ? 1 : a->tiles ? 3 : 0; }
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
    int64_t many, wide, held;        /* vectors of a part of keys, of queries, of pairs */
    const Item *gathered;
    int64_t at[WIDE * LANES]; /* of the item's queries, in a table of (tokens, heads) */
    ivec last[WIDE];          /* key that each of them sees */
    int id;
} Tiled;

static int64_t tiled_lay_out(const Work *a, int id, Tiled *mine) {
    const int back = a->dk != 0;
    const int64_t w = a->width, longest = whole(a->longest), many = longest * w / 32, wide = WIDE * w / 2;
    const int64_t held = WIDE * (back && longest > SPAN ? SPAN : longest) / 2, parts = parts_of(a);
    const int64_t rows = parts * many, lanes = parts * wide, step = back * parts * WIDE * TILE;
    const int64_t sizes[] = {
        rows, rows, lanes, rows, lanes, back * lanes, back * lanes, back * lanes,
        parts * held, step, step, back * 2 * many, back * 2 * many,
        WIDE * (back ? KEYS : longest), back * WIDE * KEYS, 2 * wide};
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
        .mixed = part[15], .many = many, .wide = wide, .held = held, .id = id};
    if (back) memset(mine->dkey, 0, (size_t)(many * 4 * BYTES));
    return size;
}

/* A float32 as the sum of three bfloat16, each in the upper half of 32 bits: the nearest, the nearest to what
 * it leaves, and what both leave, which has no more than 8 bits. */
INLINE void part_words(vec x, uvec *to) {
    for (int p = 0; p < 2; p++) {
        to[p] = ((uvec)x + 0x8000) & 0xffff0000u;
        x = x - (vec)to[p];
    }
    to[2] = (uvec)x;
}
INLINE uvec two_words(uvec low, uvec high) { return low >> 16 | (high & 0xffff0000u); }

/* Thirty-two numbers as words, for `put_row` and `put_pairs`: the parts of the first 16, and of the others;
 * bfloat16 are in one vector. */
INLINE void words_of(Parts parts, vec low, vec high, uvec *to) {
    if (parts == 1) to[0] = both(low, high);
    else part_words(low, to), part_words(high, to + 3);
}
/* As a row; `apart` vectors from part to part. */
INLINE void put_row(Parts parts, const uvec *x, uvec *to, int64_t apart) {
#pragma GCC unroll 3
    for (int p = 0; p < parts; p++) to[p * apart] = parts == 1 ? x[0] : two_words(x[p], x[3 + p]);
}
/* Rows of a table, and zeros until `until`; `apart` vectors from part to part. Of 32 numbers in parts the
 * first stands beside the 17th and so on: no number then has to change its place in a vector. */
INLINE void collect(Parts parts, const void *table, const int64_t *places, int64_t times, int64_t plus,
                    int64_t count, int64_t until, int64_t w, uint16_t *to, int64_t apart) {
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = (places[i] * times + plus) * w;
        for (int64_t d = 0; d < w; d += 32) {
            uvec x[6];
            if (parts == 1) {
                memcpy(to + i * w + d, (const uint16_t *)table + at + d, BYTES);
                continue;
            }
            words_of(parts, load(table, at + d, 0), load(table, at + d + LANES, 0), x);
            put_row(parts, x, (uvec *)(to + i * w + d), apart);
        }
    }
    for (int p = 0; p < parts; p++)
        memset(to + p * apart * 32 + count * w, 0, (size_t)((until - count) * w) * 2);
}

/* Thirty-two numbers of two rows that `collect` wrote, in pairs: the first 16 and the others. */
INLINE void pair_up(Parts parts, const uint16_t *one, const uint16_t *other, uvec *first, uvec *others) {
    if (parts == 1) {
        *first = pairs_of(one, other), *others = pairs_of(one + LANES, other + LANES);
        return;
    }
    uvec a, b;
    memcpy(&a, one, BYTES), memcpy(&b, other, BYTES);
    *first = (a & 0xffffu) | b << 16, *others = two_words(a, b);
}

/* Rows from .. to, as features by rows. */
INLINE void turn(Parts parts, const uint16_t *rows, int64_t from, int64_t to, int64_t w, uvec *turned) {
    for (int64_t k = from; k < to; k += KEYS)
        for (int64_t d = 0; d < w; d += 2 * LANES) {
            const uint16_t *at = rows + k * w + d;
            uvec x[2][TILE];
            for (int i = 0; i < TILE; i++)
                pair_up(parts, at + 2 * i * w, at + (2 * i + 1) * w, x[0] + i, x[1] + i);
            for (int i = 0; i < 2; i++) transpose(x[i], turned + k / KEYS * w + d + i * LANES);
        }
}

/* Adds the gradients of an item's own keys to the thread's table, or of those it continues. Keys that are not
 * there have gradients as well, of 0 or NaN, which a longer row must not find. */
INLINE void tiled_release(const Work *a, const Item *old, Tiled *mine, const int own) {
    const int64_t w = a->width, from = own ? old->prefix : 0, count = own ? old->own : old->prefix;
    const int64_t *places = a->places + (own ? old->own_at : old->prefix_at);
    float *dkey = mine->dkey + from * w, *dvalue = mine->dvalue + from * w;
    release(a, mine->id, old->head, places, count, (float)a->scale, dkey, dvalue);
    if (!own) return;
    const int64_t rest = (whole(from + count) - from - count) * w * 4;
    memset(dkey + count * w, 0, (size_t)rest);
    memset(dvalue + count * w, 0, (size_t)rest);
}

/* Fetches what the next item reads and is not there; with 0, only releases. */
INLINE void tiled_gather(Parts parts, const Work *a, const Item *t, Tiled *mine) {
    const Item *old = mine->gathered;
    const Kept kept = kept_from(old, t);
    if (old && a->dk && !kept.own) tiled_release(a, old, mine, 1);
    if (old && a->dk && !kept.prefix) tiled_release(a, old, mine, 0);
    mine->gathered = t;
    if (!t || kept.own) return;
    const int64_t *prefix = a->places + t->prefix_at, *own = a->places + t->own_at;
    const int64_t w = a->width, until = whole(t->prefix + t->own), shared = a->shared, many = mine->many;
    const int64_t count = t->prefix, begin = kept.prefix ? count / KEYS * KEYS : 0;
    for (int i = 0; i < 2; i++) {
        const void *table = i ? a->v : a->k;
        uint16_t *rows = i ? mine->value : mine->key;
        if (!kept.prefix) collect(parts, table, prefix, shared, t->head, count, count, w, rows, many);
        collect(parts, table, own, shared, t->head, t->own, until - count, w, rows + count * w, many);
    }
    for (int p = 0; p < parts; p++)
        turn(parts, (a->dk ? mine->key : mine->value) + p * many * 32, begin, until, w,
             mine->turned + p * many);
}

/* Queries' rows of a table. */
INLINE void take(Parts parts, const int N, const Item *t, const Tiled *mine, const void *table, int64_t w) {
    collect(parts, table, mine->at, 1, 0, t->count, N * LANES, w, mine->rows, mine->wide);
}

/* mine->rows in pairs of features, one query in each lane. */
INLINE void line_pairs(Parts parts, const int N, const Tiled *mine, int64_t w, uvec *lanes) {
    for (int p = 0; p < parts; p++)
        for (int64_t d = 0; d < w; d += 32)
            for (int n = 0; n < N; n++) {
                const uint16_t *from = mine->rows + p * mine->wide * 32 + n * LANES * w + d;
                uvec x[TILE];
                for (int i = 0; i < TILE; i++) memcpy(x + i, from + i * w, BYTES);
                transpose(x, lanes + p * mine->wide + (d / 32 * N + n) * TILE);
            }
}

/* mine->rows in pairs of queries: of 32 the first two and so on; in parts the first with the 17th. */
INLINE void row_pairs(Parts parts, const int N, const Tiled *mine, int64_t w, uvec *to) {
    const int64_t step = parts == 1 ? 2 : 1, beside = parts == 1 ? 1 : LANES;
    for (int p = 0; p < parts; p++)
        for (int64_t l = 0; l < N * LANES; l += 32)
            for (int64_t i = 0; i < TILE; i++)
                for (int64_t d = 0; d < w; d += 32) {
                    const uint16_t *from = mine->rows + p * mine->wide * 32 + (l + i * step) * w + d;
                    uvec *at = to + p * mine->wide + l / 32 * w + d + i;
                    pair_up(parts, from, from + beside * w, at, at + LANES);
                }
}

/* Two keys in pairs, 16 queries in each of two tiles: in parts the first 16 and the others. Of bfloat16 the
 * processor takes every other four queries for the first tile. */
INLINE void put_pairs(Parts parts, const uvec *x, const uvec *y, uvec *to, int64_t apart) {
    if (parts == 1) {
        const __m512i a = (__m512i)x[0], b = (__m512i)y[0];
        to[0] = (uvec)_mm512_unpacklo_epi16(a, b), to[TILE] = (uvec)_mm512_unpackhi_epi16(a, b);
        return;
    }
#pragma GCC unroll 3
    for (int p = 0; p < parts; p++) {
        to[p * apart] = two_words(x[p], y[p]);
        to[p * apart + TILE] = two_words(x[3 + p], y[3 + p]);
    }
}
/* Which of 32 queries lane j of a tile of pairs is. */
INLINE int64_t from_lane(Parts parts, int64_t j, int64_t tile) {
    return parts == 1 ? j / 4 * 8 + tile * 4 + j % 4 : tile * LANES + j;
}

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

/* Features d .. of 16 queries (32 of bfloat16) from mixed[feature][query], times `by`, as rows. */
INLINE void rows_from(const int half, const int N, const vec *mixed, int64_t d, int64_t n, vec by, uvec *to) {
    uvec x[TILE];
    for (int i = 0; i < TILE; i++) {
        const int64_t feature = half ? d + 2 * i : d + i;
        const vec *at = mixed + (feature / TILE * N + n) * TILE + feature % TILE;
        if (half) {
            const uvec two = both(at[0] * by, at[1] * by);
            uint16_t both_rows[32];
            memcpy(both_rows, &two, BYTES);
            x[i] = pairs_of(both_rows, both_rows + LANES);
        } else x[i] = (uvec)(at[0] * by);
    }
    transpose(x, to);
}

/* x[feature][query] as rows of a table; x times factor, that of each query. */
INLINE void hand_out(Parts parts, const int N, const Item *t, const Tiled *mine, int64_t w, const vec *factor,
                     void *table) {
    const int64_t size = parts == 1 ? 2 : 4;
    for (int n = 0; n < N; n++) {
        vec by;
        for (int j = 0; j < LANES; j++)
            ((float *)&by)[j] = ((const float *)(factor + n / 2 * 2))[from_lane(parts, j, n % 2)];
        for (int64_t d = 0; d < w; d += BYTES / size) {
            uvec found[TILE];
            rows_from(parts == 1, N, mine->mixed, d, n, by, found);
            for (int j = 0; j < LANES; j++) {
                const int64_t l = n / 2 * 32 + from_lane(parts, j, n % 2);
                if (l < t->count) memcpy((char *)table + (mine->at[l] * w + d) * size, found + j, BYTES);
            }
        }
    }
}
