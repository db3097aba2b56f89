/* needs: checks */
/* As nt_requant for |v| < 2^30 and a shift to the right of 1 at least; half is 2^(right - 1). */
static inline int32_t nt_scaled(int32_t v, int32_t multiplier, int32_t half, int32_t right) {
#if defined(__ARM_FEATURE_DSP)
  int32_t t;
  __asm__("smmulr %0, %1, %2" : "=r"(t) : "r"(v * 2), "r"(multiplier));
#else
  int32_t t = (int32_t)(((int64_t)v * multiplier + ((int64_t)1 << 30)) >> 31);
#endif
  return (t + half + (t >> 31)) >> right;
}
