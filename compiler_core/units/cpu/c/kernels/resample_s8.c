/* needs: clamp */
/* Weighted sums along the middle axis, weights of 11 bits. */
static inline void nt_resample_s8(int32_t outer, int32_t count, int32_t inner, int32_t chosen,
                            int32_t taps, const int32_t *indices, const int32_t *weights,
                            const int8_t *x, int8_t *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < chosen; i++)
      for (int32_t c = 0; c < inner; c++) {
        int32_t sum = 1024;
        for (int32_t k = 0; k < taps; k++)
          sum += x[(o * count + indices[i * taps + k]) * inner + c] * weights[i * taps + k];
        *y++ = (int8_t)nt_clamp(sum >> 11, -128, 127);
      }
}
