/* needs: lane */
/* Products of bytes in four sums side by side. */
#if defined(__ARM_FEATURE_MVE)
static inline nt_v4 nt_v4_bytes(const int8_t *from) { return vldrbq_s32(from); }
static inline nt_v4 nt_v4_sum(nt_v4 sum, nt_v4 a, nt_v4 b) {
  return vaddq_s32(sum, vmulq_s32(a, b));
}
#else
static inline nt_v4 nt_v4_bytes(const int8_t *from) {
  nt_v4 v;
  for (int k = 0; k < 4; k++) v.b[k] = from[k];
  return v;
}
static inline nt_v4 nt_v4_sum(nt_v4 sum, nt_v4 a, nt_v4 b) {
  for (int k = 0; k < 4; k++) sum.b[k] += a.b[k] * b.b[k];
  return sum;
}
#endif
