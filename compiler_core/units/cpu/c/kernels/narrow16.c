static inline int16_t nt_narrow16(int32_t v, int32_t low, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  if (low == -32768 && high == 32767) {
    int32_t r;
    __asm__("ssat %0, #16, %1" : "=r"(r) : "r"(v));
    return (int16_t)r;
  }
#endif
  return (int16_t)(v < low ? low : v > high ? high : v);
}
