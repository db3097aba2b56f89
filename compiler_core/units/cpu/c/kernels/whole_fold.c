/* needs: whole_result */
/* Along the middle axis of [outer, count, inner]: the last result, or every one. */
static inline void nt_whole_fold(int32_t outer, int32_t count, int32_t inner,
                                 nt_whole_function function, int32_t running, int32_t exclusive,
                                 int32_t reverse, const int32_t *x, int32_t *y) {
  for (int32_t o = 0; o < outer; o++)
    for (int32_t c = 0; c < inner; c++) {
      int32_t sum = function == NT_MUL ? 1 : 0;
      for (int32_t i = 0; i < count; i++) {
        int32_t at = (o * count + (reverse ? count - 1 - i : i)) * inner + c;
        int32_t v = x[at];
        int32_t after = i == 0 ? v : nt_whole_result(function, sum, v);
        if (running)
          y[at] = exclusive ? sum : after;
        sum = after;
      }
      if (!running)
        y[o * inner + c] = sum;
    }
}
