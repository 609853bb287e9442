/* What lies between the products of a layer, forward and backward, in one pass over memory each.
 *
 * Rows are whole numbers of 16 features; everything is rounded where torch's own steps round it.
 */
#include "lanes.h"

INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE void norm_(const void *x, const void *weight, void *out, float *scale, int64_t rows,
                  int64_t n, double epsilon, int threads, Half half) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        vec sum = {0};
        for (int64_t i = 0; i < n; i += LANES) {
            vec one = load(x, row * n + i, half);
            sum += one * one;
        }
        scale[row] = 1.0f / sqrtf(sum_of(sum) / (float)n + (float)epsilon);
        for (int64_t i = 0; i < n; i += LANES) {
            vec one = rounded(load(x, row * n + i, half) * scale[row], half);
            store(out, row * n + i, one * load(weight, i, half), half);
        }
    }
}

/* s (v - x s^2 mean(v x)) with v = gradient times weight. */
INLINE void norm_back_(const void *grad, const void *x, const void *weight, const float *scale,
                       void *out, int64_t rows, int64_t n, int threads, Half half) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++) {
        vec sum = {0};
        for (int64_t i = 0; i < n; i += LANES) {
            vec v = rounded(load(grad, row * n + i, half) * load(weight, i, half), half);
            sum += v * load(x, row * n + i, half);
        }
        const float s = scale[row], common = sum_of(sum) / (float)n * s * s;
        for (int64_t i = 0; i < n; i += LANES) {
            vec v = rounded(load(grad, row * n + i, half) * load(weight, i, half), half);
            store(out, row * n + i, (v - load(x, row * n + i, half) * common) * s, half);
        }
    }
}

INLINE void gate_(const void *gate, const void *up, void *out, int64_t count, int threads, Half half) {
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        vec x = load(gate, i, half);
        store(out, i, rounded(x * sigmoid(x), half) * load(up, i, half), half);
    }
}

INLINE void gate_back_(const void *grad, const void *gate, const void *up, void *dgate, void *dup,
                       int64_t count, int threads, Half half) {
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < count; i += LANES) {
        vec x = load(gate, i, half), g = load(grad, i, half), share = sigmoid(x);
        store(dup, i, g * rounded(x * share, half), half);
        g = rounded(g * load(up, i, half), half);
        store(dgate, i, g * share * (1.0f + x * (1.0f - share)), half);
    }
}

/* Heads of `width` numbers, (tokens, heads, width); cos and sin are (tokens, width). Back: the transpose. */
INLINE void rotate_(const void *x, const void *cos, const void *sin, void *out, int64_t tokens,
                    int64_t heads, int64_t width, int back, int threads, Half half) {
    const int64_t middle = width / 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < middle; i += LANES) {
            vec c1 = load(cos, t * width + i, half), c2 = load(cos, t * width + i + middle, half);
            vec s1 = load(sin, t * width + i, half), s2 = load(sin, t * width + i + middle, half);
            vec first = back ? s2 : -s1, second = back ? -s1 : s2;
            for (int64_t h = 0; h < heads; h++) {
                const int64_t at = (t * heads + h) * width + i;
                vec one = load(x, at, half), two = load(x, at + middle, half);
                store(out, at, rounded(one * c1, half) + rounded(two * first, half), half);
                store(out, at + middle, rounded(two * c2, half) + rounded(one * second, half), half);
            }
        }
}

#define CHOICE(name, ...) \
    if (half) name(__VA_ARGS__, 1); \
    else name(__VA_ARGS__, 0)

void grpokit_norm(const void *x, const void *weight, void *out, float *scale, int64_t rows, int64_t n,
                  double epsilon, int threads, int half) {
    CHOICE(norm_, x, weight, out, scale, rows, n, epsilon, threads);
}
void grpokit_norm_back(const void *grad, const void *x, const void *weight, const float *scale,
                       void *out, int64_t rows, int64_t n, int threads, int half) {
    CHOICE(norm_back_, grad, x, weight, scale, out, rows, n, threads);
}
void grpokit_gate(const void *gate, const void *up, void *out, int64_t count, int threads, int half) {
    CHOICE(gate_, gate, up, out, count, threads);
}
void grpokit_gate_back(const void *grad, const void *gate, const void *up, void *dgate, void *dup,
                       int64_t count, int threads, int half) {
    CHOICE(gate_back_, grad, gate, up, dgate, dup, count, threads);
}
void grpokit_rotate(const void *x, const void *cos, const void *sin, void *out, int64_t tokens,
                    int64_t heads, int64_t width, int back, int threads, int half) {
    CHOICE(rotate_, x, cos, sin, out, tokens, heads, width, back, threads);
}
