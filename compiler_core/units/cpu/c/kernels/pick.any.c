/* needs: within */
/* Elements of [outer, count, inner] at places [outer, number, inner] of the middle axis. */
static inline void nt_pick_@S(int32_t outer, int32_t count, int32_t inner, int32_t number, const @T *x,
                        const int32_t *places, @T *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < number; i++)
      for (int32_t c = 0; c < inner; c++)
        *y++ = x[(o * count + nt_within(*places++, count)) * inner + c];
}
