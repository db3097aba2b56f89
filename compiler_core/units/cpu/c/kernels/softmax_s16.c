/* needs: softmax_parts */
/* Along the middle axis of [outer, count, inner]; the result has scale 1 / 32768. */
static inline void nt_softmax_s16(int32_t outer, int32_t count, int32_t inner, int32_t multiplier,
                           int32_t shift, int32_t least, const int16_t *x, int16_t *y) {
  for (int32_t row = 0; row < outer * inner; row++) {
    int32_t start = row / inner * count * inner + row % inner, top = -32768, sum = 0, zeros = 0;
    for (int32_t i = 0; i < count; i++)
      if (x[start + i * inner] > top) top = x[start + i * inner];
    for (int32_t i = 0; i < count; i++) {
      int32_t d = x[start + i * inner] - top;
      if (d >= least) sum += nt_divide(nt_exp(nt_high((int32_t)((uint32_t)d << shift), multiplier)), 12);
    }
    while (((uint32_t)sum << zeros & 0x80000000u) == 0u) zeros++;
    int32_t scale = nt_reciprocal((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    for (int32_t i = 0; i < count; i++) {
      int32_t d = x[start + i * inner] - top, v = 0;
      if (d >= least) {
        v = nt_high(scale, nt_exp(nt_high((int32_t)((uint32_t)d << shift), multiplier)));
        v = nt_clamp(nt_divide(v, 28 - zeros), 0, 32767);
      }
      y[start + i * inner] = (int16_t)v;
    }
  }
}
