/* Not below low, and not above high, without a branch: as many instructions whatever the value. */
static inline int32_t nt_not_below(int32_t v, int32_t low) {
#if defined(__ARM_FEATURE_SAT)
  return low + ((v - low) & ~((v - low) >> 31));
#else
  return v < low ? low : v;
#endif
}

static inline int32_t nt_not_above(int32_t v, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  return high + ((v - high) & ((v - high) >> 31));
#else
  return v > high ? high : v;
#endif
}
