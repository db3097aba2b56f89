static inline void nt_map_softsign(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v / (1.0f + (v < 0.0f ? -v : v));
  }
}
