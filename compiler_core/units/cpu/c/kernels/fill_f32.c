static inline void nt_fill_f32(int32_t count, float value, float *y) {
  for (int32_t i = 0; i < count; i++) y[i] = value;
}
