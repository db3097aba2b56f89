/* needs: window clamp */
static inline void nt_max_s16(const nt_window *p, const int16_t *x, int16_t *y) {
  for (int32_t n = 0; n < p->batch; n++)
    for (int32_t row = 0; row < p->out_h; row++)
      for (int32_t column = 0; column < p->out_w; column++)
        for (int32_t c = 0; c < p->in_c; c++) {
          int32_t most = -32768;
          for (int32_t i = 0; i < p->kernel_h; i++)
            for (int32_t j = 0; j < p->kernel_w; j++) {
              int32_t in_row = row * p->stride_h - p->pad_h + i * p->step_h;
              int32_t in_column = column * p->stride_w - p->pad_w + j * p->step_w;
              if (in_row < 0 || in_row >= p->in_h || in_column < 0 || in_column >= p->in_w)
                continue;
              int32_t v = x[((n * p->in_h + in_row) * p->in_w + in_column) * p->in_c + c];
              if (v > most) most = v;
            }
          *y++ = (int16_t)nt_clamp(most, p->low, p->high);
        }
}
