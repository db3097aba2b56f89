static inline void nt_fill_s32(int32_t count, int32_t value, int32_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = value;
}
