/* needs: vector scaled */
/* Four sums side by side. */
#if defined(__ARM_FEATURE_MVE)
typedef int32x4_t nt_v4;
static inline nt_v4 nt_v4_load(const int32_t *from) { return vldrwq_s32(from); }
static inline nt_v4 nt_v4_of(int32_t a, int32_t b, int32_t c, int32_t d) {
  nt_v4 v = vdupq_n_s32(a);
  v = vsetq_lane_s32(b, v, 1);
  v = vsetq_lane_s32(c, v, 2);
  return vsetq_lane_s32(d, v, 3);
}
static inline void nt_v4_narrow(int8_t *to, nt_v4 v, nt_v4 multiplier, nt_v4 right, int32_t offset,
                                int32_t low, int32_t high) {
  nt_v4 t = vqrdmulhq_s32(v, multiplier), left = vnegq_s32(right);
  t = vrshlq_s32(vaddq_s32(t, vshrq_n_s32(t, 31)), left);
  t = vaddq_n_s32(t, offset);
  t = vminq_s32(vmaxq_s32(t, vdupq_n_s32(low)), vdupq_n_s32(high));
  vstrbq_s32(to, t);
}
#else
typedef struct {
  int32_t b[4];
} nt_v4;
static inline nt_v4 nt_v4_load(const int32_t *from) {
  nt_v4 v;
  for (int k = 0; k < 4; k++) v.b[k] = from[k];
  return v;
}
static inline nt_v4 nt_v4_of(int32_t a, int32_t b, int32_t c, int32_t d) {
  nt_v4 v = {{a, b, c, d}};
  return v;
}
static inline void nt_v4_narrow(int8_t *to, nt_v4 v, nt_v4 multiplier, nt_v4 right, int32_t offset,
                                int32_t low, int32_t high) {
  for (int k = 0; k < 4; k++) {
    int32_t half = 1 << (right.b[k] - 1);
    int32_t t = nt_scaled(v.b[k], multiplier.b[k], half, right.b[k]) + offset;
    to[k] = (int8_t)(t < low ? low : t > high ? high : t);
  }
}
#endif
