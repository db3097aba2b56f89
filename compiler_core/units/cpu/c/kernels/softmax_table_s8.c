/* needs: softmax_parts */
/* As nt_softmax_s8, with the exponentials of 0, 1, 2, … below the largest in a table. */
static inline void nt_softmax_table_s8(int32_t outer, int32_t count, int32_t inner, int32_t entries,
                          const int32_t *powers, const int8_t *x, int8_t *y) {
  for (int32_t row = 0; row < outer * inner; row++) {
    int32_t start = row / inner * count * inner + row % inner, top = -128, sum = 0, zeros = 0;
    for (int32_t i = 0; i < count; i++)
      if (x[start + i * inner] > top) top = x[start + i * inner];
    for (int32_t i = 0; i < count; i++) {
      int32_t below = top - x[start + i * inner];
      if (below < entries) sum += nt_divide(powers[below], 12);
    }
    while (((uint32_t)sum << zeros & 0x80000000u) == 0u) zeros++;
    int32_t scale = nt_reciprocal((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    for (int32_t i = 0; i < count; i++) {
      int32_t below = top - x[start + i * inner], v = -128;
      if (below < entries && zeros > 3) /* else nothing is left */
        v = nt_clamp(nt_divide(nt_high(scale, powers[below]), 35 - zeros) - 128, -128, 127);
      y[start + i * inner] = (int8_t)v;
    }
  }
}
