static inline void nt_map_thresholded(int32_t count, float a, float b, const float *x, float *y) {
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v > a ? v : 0.0f;
  }
}
