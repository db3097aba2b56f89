/* needs: halves */
/* The product of the low half of one and the upper half of the other, added to a sum. */
static inline int32_t nt_low_up(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  int32_t r;
  __asm__("smlabt %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
  return r;
#else
  return sum + nt_low(a) * nt_up(b);
#endif
}

static inline int32_t nt_up_low(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  int32_t r;
  __asm__("smlatb %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
  return r;
#else
  return sum + nt_up(a) * nt_low(b);
#endif
}
