/* Linear interpolation along the middle axis, weights of 11 bits. */
static inline void nt_linear_s16(int32_t outer, int32_t count, int32_t inner, int32_t chosen,
                         const int32_t *low, const int32_t *high, const int32_t *weights,
                         const int16_t *x, int16_t *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < chosen; i++)
      for (int32_t c = 0; c < inner; c++) {
        int32_t a = x[(o * count + low[i]) * inner + c], b = x[(o * count + high[i]) * inner + c];
        *y++ = (int16_t)((a * 2048 + (b - a) * weights[i] + 1024) >> 11);
      }
}
