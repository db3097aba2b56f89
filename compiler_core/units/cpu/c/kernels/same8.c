/* needs: vector */
static inline int8_t *nt_same8(int8_t *to, int32_t value, int32_t count) {
#if defined(__ARM_FEATURE_MVE)
  int8x16_t v = vdupq_n_s8((int8_t)value);
  for (int32_t i = 0; i < count; i += 16) vstrbq_p_s8(to + i, v, vctp8q((uint32_t)(count - i)));
#else
  for (int32_t i = 0; i < count; i++) to[i] = (int8_t)value;
#endif
  return to + count;
}
