/* needs: walk */
static inline void nt_truth_less_f32(const nt_walk *w, const float *a, const float *b, int8_t *y) {
  NT_WALK(w, at, bt)
    *y++ = a[at] < b[bt] ? 1 : 0;
}
