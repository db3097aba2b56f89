/* needs: walk */
static inline void nt_truth_less_@S(const nt_walk *w, const @T *a, const @T *b, int8_t *y) {
  NT_WALK(w, at, bt)
    *y++ = a[at] < b[bt] ? 1 : 0;
}
