/* Products so far along the middle axis of [outer, count, inner]. */
static inline void nt_running_product(int32_t outer, int32_t count, int32_t inner, int32_t exclusive,
                        int32_t reverse, const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t c = 0; c < inner; c++) {
      float product = 1.0f;
      for (int32_t i = 0; i < count; i++) {
        int32_t at = (o * count + (reverse ? count - 1 - i : i)) * inner + c;
        float after = product * x[at];
        y[at] = exclusive ? product : after;
        product = after;
      }
    }
}
