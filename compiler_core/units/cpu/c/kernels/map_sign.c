static inline void nt_map_sign(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f;
  }
}
