/* needs: checks divide */
/* v * multiplier * 2^(shift - 31): ties upwards, then away from zero. */
static inline int32_t nt_requant(int32_t v, int32_t multiplier, int32_t shift) {
  int32_t left = shift > 0 ? shift : 0;
  int32_t x = (int32_t)((uint32_t)v << left);
  int64_t product = (int64_t)x * multiplier + ((int64_t)1 << 30);
  return nt_divide((int32_t)(product >> 31), shift > 0 ? 0 : -shift);
}
