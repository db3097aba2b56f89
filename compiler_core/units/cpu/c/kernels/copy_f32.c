/* needs: walk */
/* From steps a of x to steps b of y. */
static inline void nt_copy_f32(const nt_walk *w, const float *x, float *y) {
  NT_WALK(w, at, bt)
    y[bt] = x[at];
}
