/* needs: walk */
/* From steps a of x to steps b of y. */
static inline void nt_copy_s8(const nt_walk *w, const int8_t *x, int8_t *y) {
  NT_WALK(w, at, bt)
    y[bt] = x[at];
}
