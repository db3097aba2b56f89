/* needs: limit */
static inline void nt_dense_f32(int32_t rows, int32_t depth, int32_t columns, float low, float high,
                         const float *w, const float *bias, const float *x, float *y) {
  for (int32_t row = 0; row < rows; row++, x += depth)
    for (int32_t o = 0; o < columns; o++) {
      float sum = bias[o];
      for (int32_t c = 0; c < depth; c++) sum += x[c] * w[o * depth + c];
      *y++ = nt_limit(sum, low, high);
    }
}
