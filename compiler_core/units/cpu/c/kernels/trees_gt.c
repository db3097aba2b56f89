/* Sums over trees: the child of a true test follows its node, a jump leads to the other. */
static inline void nt_trees_gt(int32_t rows, int32_t width, int32_t targets, int32_t trees,
                        const int32_t *roots, const int16_t *columns, const float *values,
                        const int16_t *jumps, const float *base, const float *x, float *y) {
  for (int32_t r = 0; r < rows; r++, x += width, y += targets) {
    for (int32_t k = 0; k < targets; k++) y[k] = base[k];
    for (int32_t t = 0; t < trees; t++) {
      int32_t n = roots[t];
      while (columns[n] >= 0) {
        float v = x[columns[n] / 2];
        n += v > values[n] || (columns[n] % 2 != 0 && v != v) ? 1 : jumps[n];
      }
      do {
        y[-1 - columns[n]] += values[n];
      } while (jumps[n++] != 0);
    }
  }
}
