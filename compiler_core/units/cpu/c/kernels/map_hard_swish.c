/* needs: limit */
static inline void nt_map_hard_swish(int32_t count, float a, float b, const float *x, float *y) {
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v * nt_limit(v * a + b, 0.0f, 1.0f);
  }
}
