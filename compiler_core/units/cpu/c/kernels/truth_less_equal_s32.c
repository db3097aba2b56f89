/* needs: walk */
static inline void nt_truth_less_equal_s32(const nt_walk *w, const int32_t *a, const int32_t *b, int8_t *y) {
  NT_WALK(w, at, bt)
    *y++ = a[at] <= b[bt] ? 1 : 0;
}
