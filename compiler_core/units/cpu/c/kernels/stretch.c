/* needs: load32 store32 widen */
/* Bytes as numbers of 16 bits in their order. */
static inline int16_t *nt_stretch(int16_t *to, const int8_t *from, int32_t count) {
  int32_t i = 0;
  for (; i + 4 <= count; i += 4, to += 4) {
    uint32_t v = nt_load32(from + i), even = nt_even(v), odd = nt_odd(v);
    nt_store32(to, (even & 0xFFFFu) | odd << 16);
    nt_store32(to + 2, even >> 16 | (odd & 0xFFFF0000u));
  }
  for (; i < count; i++) *to++ = from[i];
  return to;
}
