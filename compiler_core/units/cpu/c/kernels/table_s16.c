/* Between two of 513 entries, which lie 128 integers apart. */
static inline void nt_table_s16(int32_t count, const int16_t *table, const int16_t *x, int16_t *y) {
  for (int32_t i = 0; i < count; i++) {
    int32_t at = x[i] + 32768, first = table[at >> 7];
    y[i] = (int16_t)(first + (((table[(at >> 7) + 1] - first) * (at & 127) + 64) >> 7));
  }
}
