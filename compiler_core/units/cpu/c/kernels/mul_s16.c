/* needs: walk clamp requant product */
static inline void nt_mul_s16(const nt_walk *w, const nt_product *p, const int16_t *a, const int16_t *b,
                      int16_t *y) {
  NT_WALK(w, at, bt) {
    int32_t v = (a[at] + p->a_offset) * (b[bt] + p->b_offset);
    *y++ = (int16_t)nt_clamp(nt_requant(v, p->multiplier, p->shift) + p->offset, p->low, p->high);
  }
}
