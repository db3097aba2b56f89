/* needs: halves */
/* The product of the low halves, or of the upper ones, added to a sum. */
static inline int32_t nt_lows(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  int32_t r;
  __asm__("smlabb %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
  return r;
#else
  return sum + nt_low(a) * nt_low(b);
#endif
}

static inline int32_t nt_ups(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  int32_t r;
  __asm__("smlatt %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
  return r;
#else
  return sum + nt_up(a) * nt_up(b);
#endif
}
