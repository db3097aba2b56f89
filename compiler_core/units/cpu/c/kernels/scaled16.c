/* needs: checks */
/* As nt_requant64 for v of 32 bits: factor is the multiplier of 16 bits times 2^(shift + 18). */
static inline int32_t nt_scaled16(int32_t v, int32_t factor) {
#if defined(__ARM_FEATURE_DSP)
  int32_t t;
  __asm__("smmul %0, %1, %2" : "=r"(t) : "r"(v), "r"(factor));
#else
  int32_t t = (int32_t)(((int64_t)v * factor) >> 32);
#endif
  return (t + 1) >> 1;
}
