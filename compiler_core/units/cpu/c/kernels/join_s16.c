/* What stands at a place where another one comes: that one, the smaller one or the larger one. */
static inline int16_t nt_join_s16(int32_t way, int16_t a, int16_t b) {
  if (way == 0) return b;
  return (way == 3 ? b < a : b > a) ? b : a;
}
