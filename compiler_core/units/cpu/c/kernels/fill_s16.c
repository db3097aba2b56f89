static inline void nt_fill_s16(int32_t count, int16_t value, int16_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = value;
}
