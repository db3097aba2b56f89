/* needs: walk clamp requant sum */
static void nt_add_s16(const nt_walk *w, const nt_sum *p, const int16_t *a, const int16_t *b,
                      int16_t *y) {
  int32_t index[6] = {0}, at = 0, bt = 0, last = w->axes - 1;
  do {
    for (int32_t i = 0; i < w->sizes[last]; i++) {
      int32_t u = (a[at + i * w->a[last]] + p->a_offset) * (1 << 15);
      int32_t v = (b[bt + i * w->b[last]] + p->b_offset) * (1 << 15);
      u = nt_requant(u, p->a_multiplier, p->a_shift);
      v = nt_requant(v, p->b_multiplier, p->b_shift) * p->sign;
      *y++ = (int16_t)nt_clamp(nt_requant(u + v, p->multiplier, p->shift) + p->offset, p->low,
                              p->high);
    }
  } while (nt_next(w, index, &at, &bt));
}
