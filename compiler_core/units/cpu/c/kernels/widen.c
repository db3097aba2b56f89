/* needs: halves */
/* Bytes 0 and 2 of a word as two numbers of 16 bits; bytes 1 and 3. */
static inline uint32_t nt_even(uint32_t v) {
#if defined(__ARM_FEATURE_DSP)
  uint32_t r;
  __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(v));
  return r;
#else
  return nt_join((int8_t)(v & 255u), (int8_t)(v >> 16 & 255u));
#endif
}

static inline uint32_t nt_odd(uint32_t v) {
#if defined(__ARM_FEATURE_DSP)
  uint32_t r;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(v));
  return r;
#else
  return nt_join((int8_t)(v >> 8 & 255u), (int8_t)(v >> 24));
#endif
}
