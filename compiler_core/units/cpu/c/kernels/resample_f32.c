/* Weighted sums along the middle axis. */
static inline void nt_resample_f32(int32_t outer, int32_t count, int32_t inner, int32_t chosen,
                            int32_t taps, const int32_t *indices, const float *weights,
                            const float *x, float *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < chosen; i++)
      for (int32_t c = 0; c < inner; c++) {
        float sum = 0.0f;
        for (int32_t k = 0; k < taps; k++)
          sum = sum + x[(o * count + indices[i * taps + k]) * inner + c] * weights[i * taps + k];
        *y++ = sum;
      }
}
