/* needs: lane scaled */
/* As bytes, scaled. */
#if defined(__ARM_FEATURE_MVE)
static inline void nt_v4_narrow(int8_t *to, nt_v4 v, nt_v4 multiplier, nt_v4 right, int32_t offset,
                                int32_t low, int32_t high) {
  nt_v4 t = vqrdmulhq_s32(v, multiplier), left = vnegq_s32(right);
  t = vrshlq_s32(vaddq_s32(t, vshrq_n_s32(t, 31)), left);
  t = vaddq_n_s32(t, offset);
  t = vminq_s32(vmaxq_s32(t, vdupq_n_s32(low)), vdupq_n_s32(high));
  vstrbq_s32(to, t);
}
#else
static inline void nt_v4_narrow(int8_t *to, nt_v4 v, nt_v4 multiplier, nt_v4 right, int32_t offset,
                                int32_t low, int32_t high) {
  for (int k = 0; k < 4; k++) {
    int32_t half = 1 << (right.b[k] - 1);
    int32_t t = nt_scaled(v.b[k], multiplier.b[k], half, right.b[k]) + offset;
    to[k] = (int8_t)(t < low ? low : t > high ? high : t);
  }
}
#endif
