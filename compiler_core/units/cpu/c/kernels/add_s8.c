/* needs: walk clamp times sum */
static inline void nt_add_s8(const nt_walk *w, const nt_sum *p, const int8_t *a, const int8_t *b,
                             int8_t *y) {
  const int32_t c = p->a_offset * (1 << 21), d = p->b_offset * (1 << 21);
  NT_WALK(w, at, bt) {
    int32_t u = nt_times(a[at] * (1 << 21) + c, p->a_multiplier, p->a_shift);
    int32_t v = nt_times(b[bt] * (1 << 21) + d, p->b_multiplier, p->b_shift) * p->sign;
    v = nt_times((u + v) * 2, p->multiplier, p->shift) + p->offset;
    *y++ = (int8_t)nt_clamp(v, p->low, p->high);
  }
}
