/* needs: exp_f */
/* Along the middle axis of [outer, count, inner]. */
static inline void nt_softmax_f32(int32_t outer, int32_t count, int32_t inner, const float *x, float *y) {
  for (int32_t row = 0; row < outer * inner; row++) {
    int32_t start = row / inner * count * inner + row % inner;
    float top = x[start], sum = 0.0f;
    for (int32_t i = 1; i < count; i++)
      if (x[start + i * inner] > top) top = x[start + i * inner];
    for (int32_t i = 0; i < count; i++) {
      float v = nt_expf(x[start + i * inner] - top);
      y[start + i * inner] = v;
      sum = sum + v;
    }
    for (int32_t i = 0; i < count; i++) y[start + i * inner] = y[start + i * inner] / sum;
  }
}
