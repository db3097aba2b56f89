/* needs: sqrt_f */
static inline void nt_norm_f32(int32_t rows, int32_t count, float epsilon, const float *scale,
                        const float *bias, const float *x, float *y) {
  for (int32_t row = 0; row < rows; row++, x += count, y += count) {
    float sum = 0.0f, squares = 0.0f;
    for (int32_t i = 0; i < count; i++) sum = sum + x[i];
    float mean = sum / (float)count;
    for (int32_t i = 0; i < count; i++) squares = squares + (x[i] - mean) * (x[i] - mean);
    float factor = 1.0f / nt_sqrtf(squares / (float)count + epsilon);
    for (int32_t i = 0; i < count; i++) y[i] = ((x[i] - mean) * factor) * scale[i] + bias[i];
  }
}
