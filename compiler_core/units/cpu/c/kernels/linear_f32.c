/* Linear interpolation along the middle axis. */
static inline void nt_linear_f32(int32_t outer, int32_t count, int32_t inner, int32_t chosen,
                          const int32_t *low, const int32_t *high, const float *weights,
                          const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < chosen; i++)
      for (int32_t c = 0; c < inner; c++) {
        float a = x[(o * count + low[i]) * inner + c], b = x[(o * count + high[i]) * inner + c];
        *y++ = a + (b - a) * weights[i];
      }
}
