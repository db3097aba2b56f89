/* needs: checks */
/* v * multiplier * 2^(shift - 31) with a multiplier of 16 bits, ties upwards. */
static inline int32_t nt_requant64(int64_t v, int32_t multiplier, int32_t shift) {
  int64_t narrow = multiplier >= 0x7FFF0000 ? 0x7FFF : (multiplier + (1 << 15)) >> 16;
  int32_t t = (int32_t)((v * narrow) >> (14 - shift));
  return (int32_t)((uint32_t)t + 1u) >> 1;
}
