/* needs: vector */
static inline int32_t nt_v16_sum(int32_t sum, nt_v16 a) {
#if defined(__ARM_FEATURE_MVE)
  return vaddvaq_s8(sum, a);
#else
  for (int k = 0; k < 16; k++) sum += a.b[k];
  return sum;
#endif
}
