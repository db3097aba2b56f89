/* needs: round_f */
static inline float nt_floorf(float x) {
  if (!(x > -4194304.0f && x < 4194304.0f)) return x;
  float near = nt_round(x);
  return near - (near > x ? 1.0f : 0.0f);
}
