/* needs: bits word */
/* Correctly rounded. */
static float nt_sqrtf(float x) {
  uint32_t bits = nt_word(x), m = bits & 0x007FFFFFu;
  if (x == 0.0f || bits == 0x7F800000u || x != x) return x;
  if ((bits & 0x80000000u) != 0u) return nt_float(0x7FC00000u);
  int32_t e = (int32_t)(bits >> 23);
  if (e == 0) {
    for (e = 1; (m & 0x00800000u) == 0u; e--) m <<= 1;
  } else {
    m |= 0x00800000u;
  }
  e -= 127;
  if ((e & 1) != 0) {
    m <<= 1;
    e -= 1;
  }
  uint64_t n = (uint64_t)m << 25, r = 0;
  for (uint64_t bit = (uint64_t)1 << 24; bit != 0u; bit >>= 1)
    if ((r | bit) * (r | bit) <= n) r |= bit;
  return nt_float(((uint32_t)(e / 2 + 126) << 23) + (uint32_t)((r + 1u) >> 1));
}
