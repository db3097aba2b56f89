/* Chosen indices of the middle axis of [outer, count, inner]. */
static inline void nt_take_@S(int32_t outer, int32_t count, int32_t inner, int32_t chosen,
                        const int32_t *indices, const @T *x, @T *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < chosen; i++)
      for (int32_t c = 0; c < inner; c++)
        *y++ = x[(o * count + indices[i]) * inner + c];
}
