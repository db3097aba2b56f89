/* A weight of 4 bits: the low half of a byte first. */
static inline int32_t nt_nibble(const uint8_t *w, int32_t index) {
  int32_t half = (index & 1) != 0 ? w[index >> 1] >> 4 : w[index >> 1] & 15;
  return (half ^ 8) - 8;
}
