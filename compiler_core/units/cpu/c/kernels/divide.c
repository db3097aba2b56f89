/* v / 2^exponent to nearest, ties away from zero. */
static inline int32_t nt_divide(int32_t v, int32_t exponent) {
  int32_t mask = (int32_t)((1u << exponent) - 1u);
  return (v >> exponent) + ((v & mask) > (mask >> 1) + (v < 0) ? 1 : 0);
}
