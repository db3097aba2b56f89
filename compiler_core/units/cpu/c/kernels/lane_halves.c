/* needs: lane */
/* Four numbers of 16 bits. */
#if defined(__ARM_FEATURE_MVE)
static inline nt_v4 nt_v4_halves(const int16_t *from) { return vldrhq_s32(from); }
#else
static inline nt_v4 nt_v4_halves(const int16_t *from) {
  nt_v4 v;
  for (int k = 0; k < 4; k++) v.b[k] = from[k];
  return v;
}
#endif
