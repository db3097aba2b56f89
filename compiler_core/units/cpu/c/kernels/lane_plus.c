/* needs: lane */
#if defined(__ARM_FEATURE_MVE)
static inline nt_v4 nt_v4_plus(nt_v4 a, int32_t b) { return vaddq_n_s32(a, b); }
#else
static inline nt_v4 nt_v4_plus(nt_v4 a, int32_t b) {
  for (int k = 0; k < 4; k++) a.b[k] += b;
  return a;
}
#endif
