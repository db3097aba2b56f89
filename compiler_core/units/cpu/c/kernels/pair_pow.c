/* needs: walk limit exp_f log_f floor_f bits */
/* Below zero by whole exponents alone; anything to the power of 0 is 1. */
static inline float nt_powf(float a, float b) {
  float size = nt_expf(b * nt_logf(a < 0.0f ? -a : a));
  if (b == 0.0f) return 1.0f;
  if (!(a < 0.0f)) return size;
  if (nt_floorf(b) != b) return nt_float(0x7FC00000u);
  float half = b * 0.5f;
  return nt_floorf(half) != half ? -size : size;
}

static inline void nt_pair_pow(const nt_walk *w, float low, float high, const float *a, const float *b,
                           float *y) {
  NT_WALK(w, at, bt) {
    float u = a[at], v = b[bt];
    *y++ = nt_limit(nt_powf(u, v), low, high);
  }
}
