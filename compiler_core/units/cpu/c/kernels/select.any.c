/* Elements of a where a truth holds, else of b. */
static inline void nt_select_@S(int32_t count, const int8_t *truth, const @T *a, const @T *b, @T *y) {
  for (int32_t i = 0; i < count; i++) y[i] = truth[i] ? a[i] : b[i];
}
