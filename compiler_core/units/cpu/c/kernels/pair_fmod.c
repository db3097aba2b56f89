/* needs: walk limit rest_f */
static inline void nt_pair_fmod(const nt_walk *w, float low, float high, const float *a, const float *b,
                           float *y) {
  NT_WALK(w, at, bt) {
    float u = a[at], v = b[bt];
    *y++ = nt_limit(nt_restf(u, v), low, high);
  }
}
