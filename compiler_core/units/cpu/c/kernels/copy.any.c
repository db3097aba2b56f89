/* needs: walk */
/* From steps a of x to steps b of y. */
static inline void nt_copy_@S(const nt_walk *w, const @T *x, @T *y) {
  NT_WALK(w, at, bt)
    y[bt] = x[at];
}
