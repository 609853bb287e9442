/* What a call is given, and what its threads share: tables, scratch memory, and who does what.
 *
 * Every field of Stack, Layer, Keys and Call has 64 bits; grpokit_hf/nn/native.py writes them.
 */
#include "lanes.h"

/* Linear layers with one input; below their weights stand `rank` rows of the adapters' A.
 * An output before end[i] adds up[output] . (A x)[first[i] .. first[i] + ranks[i]]. */
typedef struct {
    const void *weight, *bias;
    const float *up;
    int64_t inputs, outputs, rank, stride, members, end[3], first[3], ranks[3];
} Stack;

typedef struct {
    const void *before, *query_norm, *key_norm, *between;
    double before_epsilon, query_epsilon, key_epsilon, between_epsilon, scale;
    Stack read, write, widen, narrow;
} Layer;

/* Of one layer: keys of prompts (prompt, head, key, width), and of rows (row, head, token, width). */
typedef struct { const float *prompt_keys, *prompt_values; float *keys, *values; } Keys;

typedef struct {
    int64_t half, threads, layers, rows, hidden, heads, shared, width, vocabulary;
    int64_t prompts, longest, filled, room;
    const Layer *layer;
    const Keys *keys;
    const int64_t *lengths, *owners; /* of prompts; of rows */
    const void *x, *cos, *sin;       /* (rows, hidden); (rows, width) twice */
    const void *norm;
    double epsilon;
    const void *head;
    float *logits; /* (rows, vocabulary) */
    void *scratch;
} Call;

/* Queries that one thread attends with at once: up to 16 of one prompt and one key head. */
typedef struct { int32_t prompt, head, count, row[LANES], query[LANES]; } Task;

typedef struct {
    int64_t blocks;                    /* of 16 rows */
    vec *x, *mixed, *middle, *low, *read; /* residual; attention; SwiGLU; A x; queries, keys, values */
    vec *cos, *sin;
    Task *task;
    int64_t tasks;
} Shared;

/* Of one thread. */
typedef struct { int id, count; vec *in, *room, *scores, *plain, *own; } Mine;

INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
/* The number of one feature that belongs to a row. */
INLINE float *of_row(vec *x, int64_t row) { return (float *)(x + row / LANES) + row % LANES; }

/* This thread's share of `total`, in whole numbers of `unit`. */
INLINE void share(int64_t total, int64_t unit, const Mine *mine, int64_t *from, int64_t *to) {
    int64_t units = (total + unit - 1) / unit;
    *from = units * mine->id / mine->count * unit;
    *to = units * (mine->id + 1) / mine->count * unit;
    if (*to > total) *to = total;
}

/* Queries of rows with the same prompt, sixteen at a time. */
static int64_t plan(const Call *c, Task *task) {
    const int64_t group = c->heads / c->shared;
    int64_t tasks = 0;
    for (int64_t p = 0; p < c->prompts; p++)
        for (int64_t head = 0; head < c->shared; head++) {
            Task *t = 0;
            for (int64_t row = 0; row < c->rows; row++)
                for (int64_t g = 0; c->owners[row] == p && g < group; g++) {
                    if (!t || t->count == LANES) {
                        t = task + tasks++;
                        t->prompt = (int32_t)p, t->head = (int32_t)head, t->count = 0;
                    }
                    t->row[t->count] = (int32_t)row;
                    t->query[t->count++] = (int32_t)(head * group + g);
                }
        }
    return tasks;
}

/* Lays out scratch from `at` on; with at = 0 only its size is of use. */
static char *lay_out(const Call *c, Shared *all, Mine *mine, char *at) {
    const int64_t b = (c->rows + LANES - 1) / LANES, mixed = c->heads * c->width;
    int64_t rank = 0, middle = 0;
    for (int64_t i = 0; i < c->layers; i++) {
        const Layer *y = c->layer + i;
        rank = most(rank, most(most(y->read.rank, y->write.rank), most(y->widen.rank, y->narrow.rank)));
        middle = most(middle, y->narrow.inputs);
    }
#define PLACE(field, count) (field) = (void *)at, at += (count) * (int64_t)sizeof(vec)
    all->blocks = b;
    PLACE(all->x, c->hidden * b);
    PLACE(all->mixed, mixed * b);
    PLACE(all->middle, middle * b);
    PLACE(all->low, rank * b);
    PLACE(all->read, (mixed + 2 * c->shared * c->width) * b);
    PLACE(all->cos, c->width * b);
    PLACE(all->sin, c->width * b);
    PLACE(all->task, (c->rows * c->heads + c->prompts * c->shared) * (int64_t)sizeof(Task) / 64 + 1);
    const int64_t in = most(most(c->hidden, mixed), middle);
    for (int64_t i = 0; i < c->threads; i++) {
        PLACE(mine[i].in, most(in * b, 2 * c->width));
        PLACE(mine[i].room, most(most(2 * middle, c->hidden), 64) * b);
        PLACE(mine[i].scores, c->longest);
        PLACE(mine[i].plain, c->width / LANES + 1);
        PLACE(mine[i].own, c->room / LANES + 2);
    }
#undef PLACE
    return at;
}

/* Rows side by side; those that are not there read row 0. */
INLINE void gather(const Call *c, const void *from, int64_t features, vec *to, Half half) {
    const int64_t lanes = (c->rows + LANES - 1) / LANES * LANES;
    for (int64_t i = 0; i < features; i++)
        for (int64_t row = 0; row < lanes; row++)
            ((float *)to)[i * lanes + row] =
                weight_at(from, (row < c->rows ? row : 0) * features + i, half);
}
