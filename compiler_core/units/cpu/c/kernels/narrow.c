/* needs: ends */
/* As a byte, saturated: as many instructions whatever the value. |v| is below 2^31 - 2^15. */
static inline int8_t nt_narrow(int32_t v) {
#if defined(__ARM_FEATURE_SAT)
  __asm__("ssat %0, #8, %1" : "=r"(v) : "r"(v));
  return (int8_t)v;
#else
  return (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
#endif
}
