/* needs: halves */
/* The products of both halves added to a sum. */
static inline int32_t nt_dual(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  int32_t r;
  __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
  return r;
#else
  return sum + nt_low(a) * nt_low(b) + nt_up(a) * nt_up(b);
#endif
}
