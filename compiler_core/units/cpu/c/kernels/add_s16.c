/* needs: walk clamp requant sum */
static inline void nt_add_s16(const nt_walk *w, const nt_sum *p, const int16_t *a, const int16_t *b,
                      int16_t *y) {
  NT_WALK(w, at, bt) {
    int32_t u = (a[at] + p->a_offset) * (1 << 15);
    int32_t v = (b[bt] + p->b_offset) * (1 << 15);
    u = nt_requant(u, p->a_multiplier, p->a_shift);
    v = nt_requant(v, p->b_multiplier, p->b_shift) * p->sign;
    *y++ = (int16_t)nt_clamp(nt_requant(u + v, p->multiplier, p->shift) + p->offset, p->low,
                            p->high);
  }
}
