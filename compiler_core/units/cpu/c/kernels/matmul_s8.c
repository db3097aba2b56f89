/* needs: matrix clamp requant */
static inline void nt_matmul_s8(const nt_matrix *p, const int8_t *a, const int8_t *b, int8_t *y) {
  for (int32_t n = 0; n < p->batch; n++, b += p->depth * p->columns)
    for (int32_t row = 0; row < p->rows; row++, a += p->depth)
      for (int32_t column = 0; column < p->columns; column++) {
        int32_t sum = 0;
        for (int32_t c = 0; c < p->depth; c++)
          sum += (a[c] + p->in_offset) * (b[c * p->columns + column] + p->other_offset);
        *y++ = (int8_t)nt_clamp(nt_requant(sum, p->multiplier, p->shift) + p->out_offset, p->low,
                                p->high);
      }
}
