/* As nt_narrow. */
static inline int16_t nt_narrow16(int32_t v, int32_t low, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  if (high == 32767 && low == 0) {
    __asm__("usat %0, #15, %1" : "=r"(v) : "r"(v));
    return (int16_t)v;
  }
  if (high == 32767) __asm__("ssat %0, #16, %1" : "=r"(v) : "r"(v));
  if (high != 32767) v = high + ((v - high) & ((v - high) >> 31));
  if (high != 32767 || low != -32768) v = low + ((v - low) & ~((v - low) >> 31));
  return (int16_t)v;
#else
  return (int16_t)(v < low ? low : v > high ? high : v);
#endif
}
