/* Without the fraction, saturated; NaN is 0. */
static inline void nt_whole_f32(int32_t count, int32_t zero, const float *x, int32_t *y) {
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v >= 2147483648.0f ? INT32_MAX : v <= -2147483648.0f ? INT32_MIN : v == v ? (int32_t)v : zero;
  }
}
