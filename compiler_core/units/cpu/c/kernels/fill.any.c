static inline void nt_fill_@S(int32_t count, @T value, @T *y) {
  for (int32_t i = 0; i < count; i++) y[i] = value;
}
