/* needs: matrix clamp requant64 */
static inline void nt_dense_s16(const nt_matrix *p, const int8_t *w, const int64_t *bias,
                   const int32_t *multiplier, const int8_t *shift, const int16_t *x, int16_t *y) {
  for (int32_t row = 0; row < p->rows; row++, x += p->depth)
    for (int32_t o = 0; o < p->columns; o++) {
      int64_t sum = bias[o];
      int32_t at = o * p->depth;
      for (int32_t c = 0; c < p->depth; c++)
        sum += w[at + c] * (x[c] + p->in_offset);
      *y++ = (int16_t)nt_clamp(nt_requant64(sum, multiplier[o], shift[o]) + p->out_offset, p->low,
                           p->high);
    }
}
