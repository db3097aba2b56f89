/* needs: lane */
#if defined(__ARM_FEATURE_MVE)
static inline nt_v4 nt_v4_of(int32_t a, int32_t b, int32_t c, int32_t d) {
  nt_v4 v = vdupq_n_s32(a);
  v = vsetq_lane_s32(b, v, 1);
  v = vsetq_lane_s32(c, v, 2);
  return vsetq_lane_s32(d, v, 3);
}
#else
static inline nt_v4 nt_v4_of(int32_t a, int32_t b, int32_t c, int32_t d) {
  nt_v4 v = {{a, b, c, d}};
  return v;
}
#endif
