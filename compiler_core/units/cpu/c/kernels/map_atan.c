/* needs: atan_f */
static inline void nt_map_atan(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = nt_atanf(v);
  }
}
