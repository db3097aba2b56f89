/* needs: whole floor_f */
/* A place along an axis of size elements; -1 outside. */
static int32_t nt_grid_place(int32_t place, int32_t size, int32_t padding, int32_t align) {
  if (padding == 0) return place < 0 || place >= size ? -1 : place;
  if (padding == 1) return place < 0 ? 0 : place >= size ? size - 1 : place;
  int32_t period = 2 * (align ? size - 1 : size);
  if (period < 1) return 0;
  int32_t around = place % period;
  if (around < 0) around += period;
  return around > size - 1 ? period - around - (align ? 0 : 1) : around;
}

/* Elements along an axis that a point sees, and their shares. */
static void nt_grid_taps(float point, int32_t size, int32_t taps, int32_t padding, int32_t align,
                         int32_t *at, float *share) {
  float x = align ? (point + 1.0f) * 0.5f * (float)(size - 1)
                  : ((point + 1.0f) * (float)size - 1.0f) * 0.5f;
  x = x > -65536.0f ? x : -65536.0f;
  x = x < 65536.0f ? x : 65536.0f;
  if (taps == 1) {
    at[0] = nt_grid_place(nt_whole(x), size, padding, align);
    share[0] = 1.0f;
    return;
  }
  float low = nt_floorf(x), t = x - low;
  int32_t first = (int32_t)low - (taps / 2 - 1);
  for (int32_t i = 0; i < taps; i++) at[i] = nt_grid_place(first + i, size, padding, align);
  if (taps == 2) {
    share[0] = 1.0f - t;
    share[1] = t;
    return;
  }
  for (int32_t i = 0; i < 4; i++) {
    float d = i == 0 ? t + 1.0f : i == 1 ? t : i == 2 ? 1.0f - t : 2.0f - t;
    share[i] = i == 1 || i == 2 ? (1.25f * d - 2.25f) * d * d + 1.0f
                                : ((-0.75f * d - -3.75f) * d + -6.0f) * d - -3.0f;
  }
}

/* Elements of volumes [batch, depth, height, width, channels] at points. */
static inline void nt_grid_sample(int32_t batch, int32_t depth, int32_t height, int32_t width,
                                  int32_t channels, int32_t points, int32_t axes, int32_t taps,
                                  int32_t padding, int32_t align, const float *x, const float *grid,
                                  float *y) {
  for (int32_t b = 0; b < batch; b++, x += depth * height * width * channels)
    for (int32_t p = 0; p < points; p++, grid += axes, y += channels) {
      int32_t z[4] = {0}, v[4], w[4], deep = axes == 3 ? taps : 1;
      float zs[4] = {1.0f}, vs[4], ws[4];
      nt_grid_taps(grid[0], width, taps, padding, align, w, ws);
      nt_grid_taps(grid[1], height, taps, padding, align, v, vs);
      if (axes == 3) nt_grid_taps(grid[2], depth, taps, padding, align, z, zs);
      for (int32_t c = 0; c < channels; c++) y[c] = 0.0f;
      for (int32_t i = 0; i < deep; i++)
        for (int32_t j = 0; j < taps; j++)
          for (int32_t k = 0; k < taps; k++) {
            if (z[i] < 0 || v[j] < 0 || w[k] < 0) continue;
            const float *seen = x + ((z[i] * height + v[j]) * width + w[k]) * channels;
            float share = (zs[i] * vs[j]) * ws[k];
            for (int32_t c = 0; c < channels; c++) y[c] = y[c] + share * seen[c];
          }
    }
}
