/* Along the middle axis of [outer, count, inner]. */
static inline void nt_reduce_mul(int32_t outer, int32_t count, int32_t inner, const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t c = 0; c < inner; c++) {
      float sum = x[o * count * inner + c];
      for (int32_t i = 1; i < count; i++) {
        float v = x[(o * count + i) * inner + c];
        sum = v * sum;
      }
      *y++ = sum;
    }
}
