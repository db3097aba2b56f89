/* needs: whole clamp */
static inline void nt_quantize_s8(int32_t count, float scale, int32_t offset, const float *x, int8_t *y) {
  for (int32_t i = 0; i < count; i++)
    y[i] = (int8_t)nt_clamp(nt_whole(x[i] / scale) + offset, -128, 127);
}
