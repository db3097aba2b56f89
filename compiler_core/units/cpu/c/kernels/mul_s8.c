/* needs: walk clamp requant product */
static void nt_mul_s8(const nt_walk *w, const nt_product *p, const int8_t *a, const int8_t *b,
                      int8_t *y) {
  int32_t index[6] = {0}, at = 0, bt = 0, last = w->axes - 1;
  do {
    for (int32_t i = 0; i < w->sizes[last]; i++) {
      int32_t v = (a[at + i * w->a[last]] + p->a_offset) * (b[bt + i * w->b[last]] + p->b_offset);
      *y++ = (int8_t)nt_clamp(nt_requant(v, p->multiplier, p->shift) + p->offset, p->low, p->high);
    }
  } while (nt_next(w, index, &at, &bt));
}
