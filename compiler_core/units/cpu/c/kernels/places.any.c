/* Places of the number largest (least: smallest) elements of the middle axis of [outer, count,
 * inner]; of equal ones the first, or the last. */
static inline void nt_places_@S(int32_t outer, int32_t count, int32_t inner, int32_t number, int32_t least,
                        int32_t last, const @T *x, int32_t *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t c = 0; c < inner; c++) {
      const @T *row = x + o * count * inner + c;
      @T most = row[0], limit;
      int32_t before = 0;
      for (int32_t k = 0; k < number; k++) {
        int32_t place = -1;
        limit = most;
        for (int32_t i = 0; i < count; i++) {
          @T v = row[i * inner];
          if (k > 0 && !((least ? v > limit : v < limit) || (v == limit && i > before))) continue;
          if (place < 0 || (least ? v < most : v > most) || (last && v == most)) {
            most = v;
            place = i;
          }
        }
        before = place < 0 ? 0 : place;
        y[(o * number + k) * inner + c] = before;
      }
    }
}
