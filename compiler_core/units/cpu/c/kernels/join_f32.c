/* What stands at a place where another one comes: that one, its sum, its product (of real and whole
 * numbers alone), the smaller one or the larger one. */
static inline float nt_join_f32(int32_t way, float a, float b) {
  switch (way) {
    case 0: return b;
    case 1: return a + b;
    case 2: return a * b;
    case 3: return b < a ? b : a;
    default: return b > a ? b : a;
  }
}
