/* needs: matrix clamp requant64 */
static inline void nt_matmul_s16(const nt_matrix *p, const int16_t *a, const int16_t *b, int16_t *y) {
  for (int32_t n = 0; n < p->batch; n++, b += p->depth * p->columns)
    for (int32_t row = 0; row < p->rows; row++, a += p->depth)
      for (int32_t column = 0; column < p->columns; column++) {
        int64_t sum = 0;
        for (int32_t c = 0; c < p->depth; c++)
          sum += (int32_t)a[c] * b[c * p->columns + column];
        *y++ = (int16_t)nt_clamp(nt_requant64(sum, p->multiplier, p->shift), p->low, p->high);
      }
}
