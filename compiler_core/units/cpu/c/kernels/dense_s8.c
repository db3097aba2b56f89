/* needs: matrix clamp requant */
static inline void nt_dense_s8(const nt_matrix *p, const int8_t *w, const int32_t *bias,
                   const int32_t *multiplier, const int8_t *shift, const int8_t *x, int8_t *y) {
  for (int32_t row = 0; row < p->rows; row++, x += p->depth)
    for (int32_t o = 0; o < p->columns; o++) {
      int32_t sum = bias[o];
      int32_t at = o * p->depth;
      for (int32_t c = 0; c < p->depth; c++)
        sum += w[at + c] * (x[c] + p->in_offset);
      *y++ = (int8_t)nt_clamp(nt_requant(sum, multiplier[o], shift[o]) + p->out_offset, p->low,
                           p->high);
    }
}
