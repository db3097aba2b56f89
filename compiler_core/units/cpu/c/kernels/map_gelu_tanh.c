/* needs: tanh_f */
static inline void nt_map_gelu_tanh(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    float inner = (v + ((0.044715f * v) * v) * v) * 0.7978845608028654f;
    y[i] = (0.5f * v) * (1.0f + nt_tanhf(inner));
  }
}
