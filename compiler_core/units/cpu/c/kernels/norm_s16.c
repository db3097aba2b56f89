/* needs: norm sqrt_f whole clamp */
static inline void nt_norm_s16(int32_t rows, int32_t count, const nt_norm *p, const float *scale,
                        const float *bias, const int16_t *x, int16_t *y) {
  const nt_norm n = *p;
  for (int32_t row = 0; row < rows; row++, x += count, y += count) {
    int32_t sum = 0;
    int64_t squares = 0;
    for (int32_t i = 0; i < count; i++) {
      sum += x[i];
      squares += (int32_t)x[i] * x[i];
    }
    float spread = (float)(count * squares - (int64_t)sum * sum) * n.spread;
    float factor = (1.0f / nt_sqrtf(spread + n.epsilon)) * n.step;
    for (int32_t i = 0; i < count; i++) {
      float v = ((float)(count * x[i] - sum) * factor) * scale[i] + bias[i];
      y[i] = (int16_t)nt_clamp(nt_whole(v) + n.offset, n.low, n.high);
    }
  }
}
