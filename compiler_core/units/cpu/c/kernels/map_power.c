static inline void nt_map_power(int32_t count, float a, float b, const float *x, float *y) {
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i], found = v;
    for (int32_t k = 1; k < (int32_t)a; k++) found = found * v;
    y[i] = found;
  }
}
