/* needs: walk limit rest_f */
/* With the sign of the divisor. */
static inline void nt_pair_mod(const nt_walk *w, float low, float high, const float *a, const float *b,
                           float *y) {
  NT_WALK(w, at, bt) {
    float u = a[at], v = b[bt], r = nt_restf(u, v);
    if (r == 0.0f) r = v < 0.0f ? -0.0f : 0.0f;
    else if ((r < 0.0f) != (v < 0.0f)) r += v;
    *y++ = nt_limit(r, low, high);
  }
}
