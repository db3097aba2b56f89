/* Elements of a where a truth holds, else of b. */
static inline void nt_select_s16(int32_t count, const int8_t *truth, const int16_t *a, const int16_t *b, int16_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = truth[i] ? a[i] : b[i];
}
