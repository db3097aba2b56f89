/* needs: window clamp requant nibble */
static inline void nt_conv_s4(const nt_window *p, const uint8_t *w, const int32_t *bias,
                   const int32_t *multiplier, const int8_t *shift, const int8_t *x, int8_t *y) {
  for (int32_t n = 0; n < p->batch; n++)
    for (int32_t row = 0; row < p->out_h; row++)
      for (int32_t column = 0; column < p->out_w; column++)
        for (int32_t o = 0; o < p->out_c; o++) {
          int32_t sum = bias[o];
          int32_t first = o / p->each * p->own;
          int32_t at = o * p->kernel_h * p->kernel_w * p->own;
          for (int32_t i = 0; i < p->kernel_h; i++) {
            int32_t in_row = row * p->stride_h - p->pad_h + i * p->step_h;
            for (int32_t j = 0; j < p->kernel_w; j++, at += p->own) {
              int32_t in_column = column * p->stride_w - p->pad_w + j * p->step_w;
              if (in_row < 0 || in_row >= p->in_h || in_column < 0 || in_column >= p->in_w)
                continue;
              const int8_t *seen =
                  x + ((n * p->in_h + in_row) * p->in_w + in_column) * p->in_c + first;
              for (int32_t c = 0; c < p->own; c++)
                sum += nt_nibble(w, at + c) * (seen[c] + p->in_offset);
            }
          }
          *y++ = (int8_t)nt_clamp(nt_requant(sum, multiplier[o], shift[o]) + p->out_offset,
                               p->low, p->high);
        }
}
