/* needs: softplus_f tanh_f */
static inline void nt_map_mish(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = v * nt_tanhf(nt_softplusf(v));
  }
}
