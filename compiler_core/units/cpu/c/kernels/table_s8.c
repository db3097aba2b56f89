static inline void nt_table_s8(int32_t count, const int8_t *table, const int8_t *x, int8_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = table[x[i] + 128];
}
