/* needs: vector checks */
/*
 * Sixteen channels side by side: sums of channels 0, 4, 8, 12, then 2, 6, …, then 1, 5, …, then
 * 3, 7, …; tables are in this order. Two products of bytes fit 16 bits before they are widened.
 */
#if defined(__ARM_FEATURE_MVE)
typedef struct {
  int32x4_t a, b, c, d;
} nt_sums;

static inline nt_sums nt_sums_load(const int32_t *s) {
  nt_sums r = {vldrwq_s32(s), vldrwq_s32(s + 4), vldrwq_s32(s + 8), vldrwq_s32(s + 12)};
  return r;
}

static inline nt_sums nt_sums_add(nt_sums s, int16x8_t even, int16x8_t odd) {
  s.a = vaddq_s32(s.a, vmovlbq_s16(even));
  s.b = vaddq_s32(s.b, vmovltq_s16(even));
  s.c = vaddq_s32(s.c, vmovlbq_s16(odd));
  s.d = vaddq_s32(s.d, vmovltq_s16(odd));
  return s;
}

static inline nt_sums nt_sums_one(nt_sums s, nt_v16 x, nt_v16 w) {
  return nt_sums_add(s, vmullbq_int_s8(x, w), vmulltq_int_s8(x, w));
}

static inline nt_sums nt_sums_two(nt_sums s, nt_v16 x, nt_v16 w, nt_v16 u, nt_v16 v) {
  int16x8_t even = vaddq_s16(vmullbq_int_s8(x, w), vmullbq_int_s8(u, v));
  int16x8_t odd = vaddq_s16(vmulltq_int_s8(x, w), vmulltq_int_s8(u, v));
  return nt_sums_add(s, even, odd);
}

static inline int32x4_t nt_sums_scaled(int32x4_t v, const int32_t *s, int32_t offset, int32_t low,
                                       int32_t high) {
  int32x4_t t = vqrdmulhq_s32(v, vldrwq_s32(s));
  t = vrshlq_s32(vaddq_s32(t, vshrq_n_s32(t, 31)), vldrwq_s32(s + 16));
  t = vaddq_n_s32(t, offset);
  return vminq_s32(vmaxq_s32(t, vdupq_n_s32(low)), vdupq_n_s32(high));
}

static inline void nt_sums_store(int8_t *to, nt_sums v, const int32_t *s, int32_t offset,
                                 int32_t low, int32_t high) {
  int16x8_t even = vreinterpretq_s16_s32(nt_sums_scaled(v.a, s, offset, low, high));
  int16x8_t odd = vreinterpretq_s16_s32(nt_sums_scaled(v.c, s + 8, offset, low, high));
  even = vmovntq_s32(even, nt_sums_scaled(v.b, s + 4, offset, low, high));
  odd = vmovntq_s32(odd, nt_sums_scaled(v.d, s + 12, offset, low, high));
  vstrbq_s8(to, vmovntq_s16(vreinterpretq_s8_s16(even), odd));
}

static inline nt_v16 nt_v16_same(int32_t value) { return vdupq_n_s8((int8_t)value); }
#else
typedef struct {
  int32_t b[16];
} nt_sums;

static inline nt_sums nt_sums_load(const int32_t *s) {
  nt_sums r;
  for (int k = 0; k < 16; k++) r.b[k] = s[k];
  return r;
}

static inline nt_sums nt_sums_one(nt_sums s, nt_v16 x, nt_v16 w) {
  static const uint8_t channel[16] = {0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15};
  for (int k = 0; k < 16; k++) s.b[k] += x.b[channel[k]] * w.b[channel[k]];
  return s;
}

static inline nt_sums nt_sums_two(nt_sums s, nt_v16 x, nt_v16 w, nt_v16 u, nt_v16 v) {
  return nt_sums_one(nt_sums_one(s, x, w), u, v);
}

static inline void nt_sums_store(int8_t *to, nt_sums v, const int32_t *s, int32_t offset,
                                 int32_t low, int32_t high) {
  static const uint8_t channel[16] = {0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15};
  for (int k = 0; k < 16; k++) {
    int32_t t = (int32_t)(((int64_t)v.b[k] * s[k] + ((int64_t)1 << 30)) >> 31);
    int32_t right = -s[16 + k];
    t = ((t + (1 << (right - 1)) + (t >> 31)) >> right) + offset;
    to[channel[k]] = (int8_t)(t < low ? low : t > high ? high : t);
  }
}

static inline nt_v16 nt_v16_same(int32_t value) {
  nt_v16 v;
  for (int k = 0; k < 16; k++) v.b[k] = (int8_t)value;
  return v;
}
#endif
