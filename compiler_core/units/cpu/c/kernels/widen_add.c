/* needs: halves */
/* The same, added to two numbers of 16 bits. */
static inline uint32_t nt_even_add(uint32_t base, uint32_t v) {
#if defined(__ARM_FEATURE_DSP)
  uint32_t r;
  __asm__("sxtab16 %0, %1, %2" : "=r"(r) : "r"(base), "r"(v));
  return r;
#else
  return nt_join(nt_low(base) + (int8_t)(v & 255u), nt_up(base) + (int8_t)(v >> 16 & 255u));
#endif
}

static inline uint32_t nt_odd_add(uint32_t base, uint32_t v) {
#if defined(__ARM_FEATURE_DSP)
  uint32_t r;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(r) : "r"(base), "r"(v));
  return r;
#else
  return nt_join(nt_low(base) + (int8_t)(v >> 8 & 255u), nt_up(base) + (int8_t)(v >> 24));
#endif
}
