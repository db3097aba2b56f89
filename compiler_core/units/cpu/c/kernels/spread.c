/* needs: load32 store32 widen */
/* Bytes as numbers of 16 bits, in groups of four in the order 0, 2, 1, 3. */
static inline int16_t *nt_spread(int16_t *to, const int8_t *from, int32_t count) {
  for (int32_t i = 0; i < count; i += 4, to += 4) {
    uint32_t v = nt_load32(from + i);
    nt_store32(to, nt_even(v));
    nt_store32(to + 2, nt_odd(v));
  }
  return to;
}
