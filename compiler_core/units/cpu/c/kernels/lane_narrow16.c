/* needs: lane scaled16 */
/* As numbers of 16 bits: see nt_scaled16. */
#if defined(__ARM_FEATURE_MVE)
static inline void nt_v4_narrow16(int16_t *to, nt_v4 v, nt_v4 factor, int32_t low, int32_t high) {
  nt_v4 t = vrshrq_n_s32(vmulhq_s32(v, factor), 1);
  t = vminq_s32(vmaxq_s32(t, vdupq_n_s32(low)), vdupq_n_s32(high));
  vstrhq_s32(to, t);
}
#else
static inline void nt_v4_narrow16(int16_t *to, nt_v4 v, nt_v4 factor, int32_t low, int32_t high) {
  for (int k = 0; k < 4; k++) {
    int32_t t = nt_scaled16(v.b[k], factor.b[k]);
    to[k] = (int16_t)(t < low ? low : t > high ? high : t);
  }
}
#endif
