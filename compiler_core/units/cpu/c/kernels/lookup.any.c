/* needs: within */
/* Rows of the middle axis of [outer, count, inner] at computed places. */
static inline void nt_lookup_@S(int32_t outer, int32_t count, int32_t inner, int32_t number, const @T *x,
                        const int32_t *places, @T *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < number; i++) {
      const @T *row = x + (o * count + nt_within(places[i], count)) * inner;
      for (int32_t c = 0; c < inner; c++) *y++ = row[c];
    }
}
