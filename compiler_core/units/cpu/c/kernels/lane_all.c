/* needs: lane */
#if defined(__ARM_FEATURE_MVE)
static inline nt_v4 nt_v4_all(int32_t a) { return vdupq_n_s32(a); }
#else
static inline nt_v4 nt_v4_all(int32_t a) {
  nt_v4 v = {{a, a, a, a}};
  return v;
}
#endif
