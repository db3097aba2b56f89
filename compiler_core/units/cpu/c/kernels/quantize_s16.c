/* needs: whole clamp */
static inline void nt_quantize_s16(int32_t count, float scale, int32_t offset, const float *x, int16_t *y) {
  for (int32_t i = 0; i < count; i++)
    y[i] = (int16_t)nt_clamp(nt_whole(x[i] / scale) + offset, -32768, 32767);
}
