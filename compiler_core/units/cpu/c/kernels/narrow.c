static inline int8_t nt_narrow(int32_t v, int32_t low, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  if (low == -128 && high == 127) {
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(v));
    return (int8_t)r;
  }
#endif
  return (int8_t)(v < low ? low : v > high ? high : v);
}
