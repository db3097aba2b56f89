static inline void nt_map_shrink(int32_t count, float a, float b, const float *x, float *y) {
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v > b ? v - a : v < -b ? v + a : 0.0f;
  }
}
