/* needs: walk limit */
static void nt_pair_div(const nt_walk *w, float low, float high, const float *a, const float *b,
                           float *y) {
  int32_t index[6] = {0}, at = 0, bt = 0, last = w->axes - 1;
  do {
    for (int32_t i = 0; i < w->sizes[last]; i++) {
      float u = a[at + i * w->a[last]], v = b[bt + i * w->b[last]];
      *y++ = nt_limit(u / v, low, high);
    }
  } while (nt_next(w, index, &at, &bt));
}
