/* needs: erf_f */
static inline void nt_map_gelu(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = (0.5f * v) * (1.0f + nt_erff(v * 0.70710678118654752f));
  }
}
