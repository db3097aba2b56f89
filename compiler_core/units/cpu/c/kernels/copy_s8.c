/* needs: walk */
/* From steps a of x to steps b of y. */
static void nt_copy_s8(const nt_walk *w, const int8_t *x, int8_t *y) {
  int32_t index[6] = {0}, at = 0, bt = 0, last = w->axes - 1;
  do {
    for (int32_t i = 0; i < w->sizes[last]; i++)
      y[bt + i * w->b[last]] = x[at + i * w->a[last]];
  } while (nt_next(w, index, &at, &bt));
}
