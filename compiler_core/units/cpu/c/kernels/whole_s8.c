static inline void nt_whole_s8(int32_t count, int32_t zero, const int8_t *x, int32_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = x[i] - zero;
}
