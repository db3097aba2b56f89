/* needs: walk */
/* From steps a of x to steps b of y. */
static inline void nt_copy_s16(const nt_walk *w, const int16_t *x, int16_t *y) {
  NT_WALK(w, at, bt)
    y[bt] = x[at];
}
