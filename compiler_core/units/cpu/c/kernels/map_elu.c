/* needs: exp_f */
static inline void nt_map_elu(int32_t count, float a, float b, const float *x, float *y) {
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v < 0.0f ? a * (nt_expf(v) - 1.0f) : v;
  }
}
