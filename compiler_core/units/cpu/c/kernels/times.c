/* needs: requant */
/* As nt_requant of half of a number, where neither that, rounded, nor the result exceeds 30 bits. */
static inline int32_t nt_times(int32_t twice, int32_t multiplier, int32_t shift) {
  if (shift > 0) return nt_requant(twice >> 1, multiplier, shift);
#if defined(__ARM_FEATURE_DSP)
  int32_t t;
  __asm__("smmulr %0, %1, %2" : "=r"(t) : "r"(twice), "r"(multiplier));
#else
  int32_t t = (int32_t)(((int64_t)twice * multiplier + ((int64_t)1 << 31)) >> 32);
#endif
  return shift < 0 ? (t + (1 << (-shift - 1)) + (t >> 31)) >> -shift : t;
}
