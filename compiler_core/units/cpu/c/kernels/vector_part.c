/* needs: vector */
/* The first bytes, and zeros. */
static inline nt_v16 nt_v16_part(const int8_t *from, int32_t count) {
#if defined(__ARM_FEATURE_MVE)
  return vldrbq_z_s8(from, vctp8q((uint32_t)count));
#else
  nt_v16 v;
  for (int k = 0; k < 16; k++) v.b[k] = 0;
  for (int k = 0; k < count; k++) v.b[k] = from[k];
  return v;
#endif
}
