/* needs: whole_result */
/* What stands at a place where another one comes: that one, its sum, its product (of real and whole
 * numbers alone), the smaller one or the larger one. */
static inline int32_t nt_join_s32(int32_t way, int32_t a, int32_t b) {
  switch (way) {
    case 0: return b;
    case 1: return nt_whole_wrap((uint32_t)a + (uint32_t)b);
    case 2: return nt_whole_wrap((uint32_t)a * (uint32_t)b);
    case 3: return b < a ? b : a;
    default: return b > a ? b : a;
  }
}
