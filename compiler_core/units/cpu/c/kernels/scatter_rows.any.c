/* needs: within join_@S */
/* Rows [count, inner] with others put in at places, one after the other. */
static inline void nt_scatter_rows_@S(int32_t count, int32_t inner, int32_t number, int32_t way,
                                      const @T *x, const int32_t *places, const @T *u, @T *y) {
  for (int32_t i = 0; i < count * inner; i++) y[i] = x[i];
  for (int32_t n = 0; n < number; n++) {
    @T *row = y + nt_within(places[n], count) * inner;
    for (int32_t c = 0; c < inner; c++) row[c] = nt_join_@S(way, row[c], *u++);
  }
}
