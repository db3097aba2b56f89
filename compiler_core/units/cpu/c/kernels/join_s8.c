/* What stands at a place where another one comes: that one, the smaller one or the larger one. */
static inline int8_t nt_join_s8(int32_t way, int8_t a, int8_t b) {
  if (way == 0) return b;
  return (way == 3 ? b < a : b > a) ? b : a;
}
