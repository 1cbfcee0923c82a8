/* The selective scans of an image in all orders of its tokens, put back in place and added (VMamba's SS2D), float32.
 *
 * Along order k with tokens p_0, p_1, ...: dt = softplus(dt_proj_k^T r + bias_k), h = exp(dt A_k) h + dt B x, and
 * C h is added to y at p; r, B and C are the row of the token and the order. Channels are vector lanes, states an inner
 * loop.
 *
 * One task is an image and some blocks of channels, in every order: no two tasks write to the same place of y or dx,
 * and nothing of the size of orders x tokens x channels is kept but the states before each chunk of STEPS tokens. What
 * the rows get in the backward pass is a sum over blocks: tasks of an image add to it chunk by chunk, one after the
 * other, so that results do not depend on the number of threads.
 *
 * Decays are each state's own (Mamba), or one of all states of a channel (Mamba-2), whose exponential is taken once.
 *
 * Glossary: Z images, L tokens, K orders, E channels, N states, R rank of the step sizes, W lanes, P chunks.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#define W 16
#elif defined(__AVX__)
#define W 8
#else
#define W 4
#endif
#define STEPS 32
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

typedef float lanes __attribute__((vector_size(4 * W)));
typedef float loose __attribute__((vector_size(4 * W), aligned(4)));
typedef int32_t whole __attribute__((vector_size(4 * W)));
#define INLINE static inline __attribute__((always_inline))

typedef struct {
  int64_t images, tokens, orders, channels, states, decays, rank, splits; /* decays of a channel: states, or 1 */
  const float *x;        /* (Z, L, E) */
  const float *rows;     /* (Z, L, K, R + 2 N) */
  const float *dt_proj;  /* (K, R, E) */
  const float *A;        /* (K, decays, E) */
  const float *D;        /* (E), the sum over the orders */
  const float *bias;     /* (K, E) */
  const int32_t *order;  /* (K, L) */
  float *y;              /* (Z, L, E) */
  float *before;         /* (Z, K, P, N, E), states before each chunk, or null */
  const float *dy;       /* (Z, L, E) */
  float *dx;             /* (Z, L, E) */
  float *drows;          /* (Z, L, K, R + 2 N) */
  float *ddt_proj;       /* (Z, K, R, E) */
  float *dA;             /* (Z, K, decays, E) */
  float *dbias;          /* (Z, K, E) */
  atomic_llong next;     /* task */
  atomic_llong *done;    /* (Z, splits), chunks whose share of the rows' gradients is in place */
} Scan;

INLINE lanes all(float x) { return x - (lanes){0}; }
INLINE lanes load(const float *p) { return *(const loose *)p; }
INLINE void store(float *p, lanes v) { *(loose *)p = v; }
INLINE lanes load_some(const float *p, int count) {
  if (count == W) return load(p);
  float some[W] = {0};
  memcpy(some, p, sizeof(float) * count);
  return load(some);
}
INLINE void store_some(float *p, lanes v, int count) {
  if (count == W) { store(p, v); return; }
  float some[W];
  store(some, v);
  memcpy(p, some, sizeof(float) * count);
}
INLINE lanes choose(whole mask, lanes a, lanes b) { return (lanes)(((whole)a & mask) | ((whole)b & ~mask)); }

/* 2^x of x <= 0, relative error 2e-7 */
INLINE lanes exp2_negative(lanes x) {
#if defined(__AVX512F__)
  x = (lanes)_mm512_max_ps((__m512)all(-150.0f), (__m512)x); /* of NaN it is NaN */
  lanes r = (lanes)_mm512_roundscale_ps((__m512)x, 8);
#else
  x = choose(x < all(-126.0f), all(-126.0f), x); /* of NaN it is NaN */
  lanes r = (x + all(12582912.0f)) - all(12582912.0f); /* to the nearest whole number */
#endif
  lanes f = x - r;
  lanes p = all(1.5403530e-4f) * f + all(1.3333558e-3f); /* ln(2)^k / k!, the last two fitted */
  p = p * f + all(9.6181291e-3f);
  p = p * f + all(5.5504109e-2f);
  p = p * f + all(2.4022651e-1f);
  p = p * f + all(6.9314718e-1f);
  p = p * f + all(1.0f);
#if defined(__AVX512F__)
  return (lanes)_mm512_scalef_ps((__m512)p, (__m512)r);
#else
  return p * (lanes)((__builtin_convertvector(r, whole) + 127) << 23);
#endif
}

/* log(1 + exp(x)) and its derivative */
INLINE lanes softplus(lanes x, lanes *slope) {
  whole positive = x > all(0.0f);
  lanes e = exp2_negative(choose(positive, -x, x) * all(LOG2_E));
  lanes inverse = all(1.0f) / (all(1.0f) + e);
  *slope = choose(positive, inverse, e * inverse);
  lanes p = all(-0.003176057f) * e + all(0.019542526f); /* log1p(e) / e, relative error 2e-7 */
  p = p * e + all(-0.056373610f);
  p = p * e + all(0.105436236f);
  p = p * e + all(-0.152696670f);
  p = p * e + all(0.196632740f);
  p = p * e + all(-0.249516160f);
  p = p * e + all(0.333297100f);
  p = p * e + all(-0.499998930f);
  p = p * e + all(1.0f);
  return choose(positive, x, all(0.0f)) + p * e;
}

#if W == 16
#define EACH(F, G) F(0, G), F(1, G), F(2, G), F(3, G), F(4, G), F(5, G), F(6, G), F(7, G), F(8, G), F(9, G), F(10, G), \
  F(11, G), F(12, G), F(13, G), F(14, G), F(15, G)
#elif W == 8
#define EACH(F, G) F(0, G), F(1, G), F(2, G), F(3, G), F(4, G), F(5, G), F(6, G), F(7, G)
#else
#define EACH(F, G) F(0, G), F(1, G), F(2, G), F(3, G)
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (whole){__VA_ARGS__})
#endif
#define LOW(l, G) (((l) & ~(G)) + (((l) & (G)) ? W : 0))
#define HIGH(l, G) (LOW(l, G) | (G))
/* half of the lanes of a and half of those of b, each the sum of two that are G apart */
#define FOLD(a, b, G) (MIX(a, b, EACH(LOW, G)) + MIX(a, b, EACH(HIGH, G)))

/* a vector whose lane i is the sum of the lanes of v[i] */
INLINE lanes sums(lanes *v) {
  for (int i = 0; i < W; i += 2) v[i] = FOLD(v[i], v[i + 1], 1);
  for (int i = 0; i < W; i += 4) v[i] = FOLD(v[i], v[i + 2], 2);
#if W >= 8
  for (int i = 0; i < W; i += 8) v[i] = FOLD(v[i], v[i + 4], 4);
#endif
#if W >= 16
  v[0] = FOLD(v[0], v[8], 8);
#endif
  return v[0];
}

INLINE lanes *room(int64_t count) { return aligned_alloc(64, (sizeof(lanes) * count + 63) / 64 * 64); }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* step sizes of a chunk in dt, their slopes, and the tokens' channels in x */
INLINE void steps_of(const Scan *s, int64_t z, int64_t k, int64_t first, int steps, int64_t e, int count, lanes *x,
                     lanes *dt, lanes *slope) {
  int64_t width = s->rank + 2 * s->states;
  const int32_t *order = s->order + k * s->tokens + first;
  const float *proj = s->dt_proj + k * s->rank * s->channels + e;
  lanes bias = load_some(s->bias + k * s->channels + e, count);
  for (int i = 0; i < steps; i++) {
    int64_t token = z * s->tokens + order[i];
    const float *row = s->rows + (token * s->orders + k) * width;
    lanes v = bias;
    for (int64_t r = 0; r < s->rank; r++) v += load_some(proj + r * s->channels, count) * all(row[r]);
    dt[i] = softplus(v, slope + i);
    x[i] = load_some(s->x + token * s->channels + e, count);
  }
}

/* decays of a block, for powers of 2 */
INLINE void decays_of(const Scan *s, const int M, int64_t k, int64_t e, int count, lanes *a) {
  for (int m = 0; m < M; m++) a[m] = load_some(s->A + (k * M + m) * s->channels + e, count) * all(LOG2_E);
}

INLINE void forward_task(Scan *s, const int N, const int M, int64_t z, int64_t first_block, int64_t end_block) {
  int64_t E = s->channels, K = s->orders, L = s->tokens, width = s->rank + 2 * N, chunks = (L + STEPS - 1) / STEPS;
  int64_t blocks = end_block - first_block;
  lanes *state = room(N * blocks);
  lanes x[STEPS], dt[STEPS], slope[STEPS], a[M], h[N];
  for (int64_t k = 0; k < K; k++) {
    for (int64_t i = 0; i < N * blocks; i++) state[i] = all(0.0f);
    for (int64_t c = 0; c < chunks; c++) {
      int64_t first = c * STEPS;
      int steps = (int)least(STEPS, L - first);
      const int32_t *order = s->order + k * L + first;
      for (int64_t j = first_block; j < end_block; j++) {
        int64_t e = j * W;
        int count = (int)least(W, E - e);
        lanes *kept = state + (j - first_block) * N;
        for (int n = 0; n < N; n++) {
          h[n] = kept[n];
          if (s->before) store_some(s->before + (((z * K + k) * chunks + c) * N + n) * E + e, h[n], count);
        }
        decays_of(s, M, k, e, count, a);
        steps_of(s, z, k, first, steps, e, count, x, dt, slope);
        for (int i = 0; i < steps; i++) {
          int64_t token = z * L + order[i];
          const float *b = s->rows + (token * K + k) * width + s->rank, *c_row = b + N;
          lanes dx = dt[i] * x[i], y0 = all(0.0f), y1 = all(0.0f), v = exp2_negative(dt[i] * a[0]);
#pragma GCC unroll 16
          for (int n = 0; n < N; n++) {
            if (n && M > 1) v = exp2_negative(dt[i] * a[n]);
            h[n] = v * h[n] + dx * all(b[n]);
            if (n & 1) y1 += h[n] * all(c_row[n]); else y0 += h[n] * all(c_row[n]);
          }
          float *out = s->y + token * E + e;
          lanes base = k ? load_some(out, count) : load_some(s->D + e, count) * x[i];
          store_some(out, base + y0 + y1, count);
        }
        for (int n = 0; n < N; n++) kept[n] = h[n];
      }
    }
  }
  free(state);
}

INLINE void backward_task(Scan *s, const int N, const int M, int64_t z, int64_t split, int64_t first_block,
                          int64_t end_block) {
  int64_t E = s->channels, K = s->orders, L = s->tokens, R = s->rank, width = R + 2 * N;
  int64_t chunks = (L + STEPS - 1) / STEPS, blocks = end_block - first_block, per_block = N + M + R + 1;
  /* of each block: gradients of state, A, dt_proj and bias; of a chunk: decays and states before */
  lanes *own = room(per_block * blocks);
  lanes *decay = room(STEPS * M), *past = room(STEPS * N);
  /* what a row gets is a sum over lanes: of B and C at each step where states fill vectors, else at a chunk's end */
  const int GROUP = N % W ? N : W;
  int64_t late = R + (GROUP == W ? 0 : 2 * N), late_terms = (STEPS * late + W - 1) / W * W;
  lanes *terms = room(late_terms);
  float *late_sums = malloc(sizeof(float) * late_terms), *sums_of_rows = malloc(sizeof(float) * (STEPS * width + W));
  lanes x[STEPS], dt[STEPS], slope[STEPS], a[M], h[N], g[N], dA[M];
  for (int64_t k = 0; k < K; k++) {
    for (int64_t i = 0; i < per_block * blocks; i++) own[i] = all(0.0f);
    for (int64_t c = chunks - 1; c >= 0; c--) {
      int64_t first = c * STEPS;
      int steps = (int)least(STEPS, L - first);
      const int32_t *order = s->order + k * L + first;
      for (int64_t i = 0; i < late_terms; i++) terms[i] = all(0.0f);
      memset(sums_of_rows, 0, sizeof(float) * STEPS * width);
      for (int64_t j = first_block; j < end_block; j++) {
        int64_t e = j * W;
        int count = (int)least(W, E - e);
        lanes *dstate = own + (j - first_block) * per_block, *dA_sum = dstate + N, *dproj = dA_sum + M;
        lanes *dbias = dproj + R, dbias_part = all(0.0f);
        const float *proj = s->dt_proj + k * R * E + e;
        for (int n = 0; n < N; n++) {
          h[n] = load_some(s->before + (((z * K + k) * chunks + c) * N + n) * E + e, count);
          g[n] = dstate[n];
        }
        for (int m = 0; m < M; m++) dA[m] = all(0.0f);
        decays_of(s, M, k, e, count, a);
        steps_of(s, z, k, first, steps, e, count, x, dt, slope);
        for (int i = 0; i < steps; i++) {
          const float *b = s->rows + ((z * L + order[i]) * K + k) * width + R;
          lanes dx = dt[i] * x[i], v = decay[i * M] = exp2_negative(dt[i] * a[0]);
#pragma GCC unroll 16
          for (int n = 0; n < N; n++) {
            if (n && M > 1) v = decay[i * M + n] = exp2_negative(dt[i] * a[n]);
            past[i * N + n] = h[n];
            h[n] = v * h[n] + dx * all(b[n]);
          }
        }
        for (int i = steps - 1; i >= 0; i--) {
          int64_t token = z * L + order[i];
          const float *row = s->rows + (token * K + k) * width, *b = row + R, *c_row = b + N;
          lanes dy = load_some(s->dy + token * E + e, count), dx = dt[i] * x[i];
          lanes *dr = terms + i * late, *terms_b = dr + R, *terms_c = terms_b + N;
          float *db = sums_of_rows + i * width + R, *dc = db + N;
          lanes s0 = all(0.0f), s1 = all(0.0f), q0 = all(0.0f), q1 = all(0.0f), decayed = decay[i * M];
          for (int first_n = 0; first_n < N; first_n += GROUP) {
            lanes for_b[GROUP], for_c[GROUP];
#pragma GCC unroll 16
            for (int m = 0; m < GROUP; m++) {
              int n = first_n + m;
              lanes v = g[n] + dy * all(c_row[n]), before = past[i * N + n];
              for_b[m] = v * dx;
              for_c[m] = dy * h[n];
              if (n && M > 1) decayed = decay[i * M + n];
              g[n] = v * decayed;
              lanes change = g[n] * before;
              if (M > 1) dA[n] += change * dt[i];
              if (M > 1) change *= a[n];
              if (n & 1) { s1 += v * all(b[n]); q1 += change; } else { s0 += v * all(b[n]); q0 += change; }
              h[n] = before;
            }
            if (GROUP == W) {
              store(db + first_n, load(db + first_n) + sums(for_b));
              store(dc + first_n, load(dc + first_n) + sums(for_c));
            } else {
              for (int m = 0; m < N; m++) {
                terms_b[m] += for_b[m];
                terms_c[m] += for_c[m];
              }
            }
          }
          if (M == 1) dA[0] += (q0 + q1) * dt[i];
          lanes rate = M == 1 ? (q0 + q1) * a[0] : q0 + q1;
          lanes ds = s0 + s1, ddt = (x[i] * ds + rate * all(LN_2)) * slope[i];
          dbias_part += ddt;
          for (int64_t r = 0; r < R; r++) {
            dr[r] += ddt * load_some(proj + r * E, count);
            dproj[r] += ddt * all(row[r]);
          }
          float *out = s->dx + token * E + e;
          lanes base = k ? load_some(out, count) : load_some(s->D + e, count) * dy;
          store_some(out, base + dt[i] * ds, count);
        }
        *dbias += dbias_part;
        for (int n = 0; n < N; n++) dstate[n] = g[n];
        for (int m = 0; m < M; m++) dA_sum[m] += dA[m];
      }
      for (int64_t v = 0; v < steps * late; v += W) store(late_sums + v, sums(terms + v));
      for (int i = 0; i < steps; i++) memcpy(sums_of_rows + i * width, late_sums + i * late, sizeof(float) * late);
      int64_t turn = k * chunks + chunks - 1 - c;
      if (split) while (atomic_load(s->done + z * s->splits + split - 1) <= turn) sched_yield();
      for (int i = 0; i < steps; i++) {
        float *out = s->drows + ((z * L + order[i]) * K + k) * width;
        for (int64_t v = 0; v < width; v++) out[v] = (split ? out[v] : 0.0f) + sums_of_rows[i * width + v];
      }
      atomic_store(s->done + z * s->splits + split, turn + 1);
    }
    for (int64_t j = first_block; j < end_block; j++) {
      int64_t e = j * W;
      int count = (int)least(W, E - e);
      lanes *dA_sum = own + (j - first_block) * per_block + N, *dproj = dA_sum + M;
      for (int m = 0; m < M; m++) store_some(s->dA + ((z * K + k) * M + m) * E + e, dA_sum[m], count);
      for (int64_t r = 0; r < R; r++) store_some(s->ddt_proj + ((z * K + k) * R + r) * E + e, dproj[r], count);
      store_some(s->dbias + (z * K + k) * E + e, dproj[R], count);
    }
  }
  free(own);
  free(decay);
  free(past);
  free(terms);
  free(late_sums);
  free(sums_of_rows);
}

/* a compiled loop for usual numbers of states and decays */
#define FOR_STATES(CALL) \
  if (s->decays == 1 && s->states == 1) CALL(1, 1); \
  else if (s->decays == 1 && s->states == 64) CALL(64, 1); \
  else if (s->decays == 1) CALL((int)s->states, 1); \
  else if (s->states == 8) CALL(8, 8); \
  else if (s->states == 16) CALL(16, 16); \
  else CALL((int)s->states, (int)s->states);

int64_t image_scan_lanes(void) { return W; }
int64_t image_scan_steps(void) { return STEPS; }
int64_t image_scan_size(void) { return sizeof(Scan); }

/* Work on tasks until none is left; several threads may do so on one scan. */
void image_scan_forward(Scan *s) {
  int64_t blocks = (s->channels + W - 1) / W, task;
  while ((task = atomic_fetch_add(&s->next, 1)) < s->images * s->splits) {
    int64_t z = task / s->splits, part = task % s->splits;
#define CALL(N, M) forward_task(s, N, M, z, blocks * part / s->splits, blocks * (part + 1) / s->splits)
    FOR_STATES(CALL)
#undef CALL
  }
}

void image_scan_backward(Scan *s) {
  int64_t blocks = (s->channels + W - 1) / W, task;
  while ((task = atomic_fetch_add(&s->next, 1)) < s->images * s->splits) {
    int64_t z = task / s->splits, part = task % s->splits;
#define CALL(N, M) backward_task(s, N, M, z, part, blocks * part / s->splits, blocks * (part + 1) / s->splits)
    FOR_STATES(CALL)
#undef CALL
  }
}
