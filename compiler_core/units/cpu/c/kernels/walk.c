/* Two operands of a result in row order; an operand that is repeated along an axis has step 0. */
typedef struct {
  int32_t axes, sizes[6], a[6], b[6];
} nt_walk;

/* To the next row of the last axis; 0 behind the last one. */
static int nt_next(const nt_walk *w, int32_t *index, int32_t *a, int32_t *b) {
  for (int32_t k = w->axes - 2; k >= 0; k--) {
    *a += w->a[k];
    *b += w->b[k];
    if (++index[k] < w->sizes[k]) return 1;
    *a -= w->a[k] * w->sizes[k];
    *b -= w->b[k] * w->sizes[k];
    index[k] = 0;
  }
  return 0;
}
