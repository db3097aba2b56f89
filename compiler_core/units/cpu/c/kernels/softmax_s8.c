/* needs: softmax_parts */
/* Along the middle axis of [outer, count, inner]. */
static inline void nt_softmax_s8(int32_t outer, int32_t count, int32_t inner, int32_t multiplier,
                          int32_t shift, int32_t least, const int8_t *x, int8_t *y) {
  for (int32_t row = 0; row < outer * inner; row++) {
    int32_t start = row / inner * count * inner + row % inner, top = -128, sum = 0, zeros = 0;
    for (int32_t i = 0; i < count; i++)
      if (x[start + i * inner] > top) top = x[start + i * inner];
    for (int32_t i = 0; i < count; i++) {
      int32_t d = x[start + i * inner] - top;
      if (d >= least) sum += nt_divide(nt_exp(nt_high((int32_t)((uint32_t)d << shift), multiplier)), 12);
    }
    while (((uint32_t)sum << zeros & 0x80000000u) == 0u) zeros++;
    int32_t scale = nt_reciprocal((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    for (int32_t i = 0; i < count; i++) {
      int32_t d = x[start + i * inner] - top, v = -128;
      if (d >= least && zeros > 3) { /* else nothing is left: 512 equal elements and more */
        v = nt_high(scale, nt_exp(nt_high((int32_t)((uint32_t)d << shift), multiplier)));
        v = nt_clamp(nt_divide(v, 35 - zeros) - 128, -128, 127);
      }
      y[start + i * inner] = (int8_t)v;
    }
  }
}
