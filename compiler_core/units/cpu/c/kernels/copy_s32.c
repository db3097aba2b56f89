/* needs: walk */
/* From steps a of x to steps b of y. */
static inline void nt_copy_s32(const nt_walk *w, const int32_t *x, int32_t *y) {
  NT_WALK(w, at, bt)
    y[bt] = x[at];
}
