/* needs: limit */
static inline void nt_matmul_f32(int32_t batch, int32_t rows, int32_t depth, int32_t columns, float low,
                          float high, const float *a, const float *b, float *y) {
  for (int32_t n = 0; n < batch; n++, b += depth * columns)
    for (int32_t row = 0; row < rows; row++, a += depth)
      for (int32_t column = 0; column < columns; column++) {
        float sum = 0.0f;
        for (int32_t c = 0; c < depth; c++) sum += a[c] * b[c * columns + column];
        *y++ = nt_limit(sum, low, high);
      }
}
