/* needs: rescale */
static inline void nt_rescale_s16_s16(int32_t count, const nt_rescale *p, const int16_t *x, int16_t *y) {
  for (int32_t i = 0; i < count; i++) y[i] = (int16_t)nt_rescaled(p, x[i]);
}
