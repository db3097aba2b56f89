static inline void nt_fill_s8(int32_t count, int8_t value, int8_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = value;
}
