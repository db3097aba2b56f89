/* needs: vector */
static inline int8_t *nt_copy8(int8_t *to, const int8_t *from, int32_t count) {
#if defined(__ARM_FEATURE_MVE)
  for (int32_t i = 0; i < count; i += 16) {
    mve_pred16_t p = vctp8q((uint32_t)(count - i));
    vstrbq_p_s8(to + i, vldrbq_z_s8(from + i, p), p);
  }
#else
  for (int32_t i = 0; i < count; i++) to[i] = from[i];
#endif
  return to + count;
}
