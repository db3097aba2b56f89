static inline void nt_dequantize_s32(int32_t count, float scale, int32_t zero, const int32_t *x, float *y) {
  for (int32_t i = 0; i < count; i++) y[i] = (float)(x[i] - zero) * scale;
}
