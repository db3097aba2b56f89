/* Within low and high, which are constants; by saturation where it does, without a branch where it
   does not: as many instructions whatever the value. |v| is below 2^31 - 2^15. */
static inline int8_t nt_narrow(int32_t v, int32_t low, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  if (high == 127) __asm__("ssat %0, #8, %1" : "=r"(v) : "r"(v));
  if (high != 127) v = high + ((v - high) & ((v - high) >> 31));
  if (high != 127 || low != -128) v = low + ((v - low) & ~((v - low) >> 31));
  return (int8_t)v;
#else
  return (int8_t)(v < low ? low : v > high ? high : v);
#endif
}
