/* needs: vector */
static inline int32_t nt_v16_dot(int32_t sum, nt_v16 a, nt_v16 b) {
#if defined(__ARM_FEATURE_MVE)
  return vmladavaq_s8(sum, a, b);
#else
  for (int k = 0; k < 16; k++) sum += a.b[k] * b.b[k];
  return sum;
#endif
}
