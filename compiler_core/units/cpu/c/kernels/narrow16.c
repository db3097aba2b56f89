/* needs: ends */
/* As nt_narrow, in 16 bits; or in 15, from 0. */
static inline int16_t nt_narrow16(int32_t v) {
#if defined(__ARM_FEATURE_SAT)
  __asm__("ssat %0, #16, %1" : "=r"(v) : "r"(v));
  return (int16_t)v;
#else
  return (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
#endif
}

static inline int16_t nt_narrow15(int32_t v) {
#if defined(__ARM_FEATURE_SAT)
  __asm__("usat %0, #15, %1" : "=r"(v) : "r"(v));
  return (int16_t)v;
#else
  return (int16_t)(v < 0 ? 0 : v > 32767 ? 32767 : v);
#endif
}
