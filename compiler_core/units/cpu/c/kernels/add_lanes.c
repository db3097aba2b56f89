/* needs: vector sum checks */
/* As nt_add_s8 for inputs of one size and shifts to the right: four elements at a time. */
#if defined(__ARM_FEATURE_MVE)
static inline int32x4_t nt_add_scaled(int32x4_t v, int32_t multiplier, int32_t shift) {
  int32x4_t t = vqrdmulhq_n_s32(v, multiplier), left = vdupq_n_s32(shift);
  return vrshlq_s32(vaddq_s32(t, vshrq_n_s32(vandq_s32(t, left), 31)), left);
}
#else
static inline int32_t nt_add_scaled(int32_t v, int32_t multiplier, int32_t shift) {
  int32_t t = (int32_t)(((int64_t)v * multiplier + ((int64_t)1 << 30)) >> 31);
  int32_t mask = (int32_t)((1u << -shift) - 1u);
  return (t >> -shift) + ((t & mask) > (mask >> 1) + (t < 0) ? 1 : 0);
}
#endif

static inline void nt_add_lanes(int32_t count, const nt_sum *p, const int8_t *a, const int8_t *b,
                         int8_t *y) {
#if defined(__ARM_FEATURE_MVE)
  for (int32_t i = 0; i < count; i += 4) {
    mve_pred16_t live = vctp32q((uint32_t)(count - i));
    int32x4_t u = vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(a + i, live), p->a_offset), 20);
    int32x4_t v = vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(b + i, live), p->b_offset), 20);
    u = nt_add_scaled(u, p->a_multiplier, p->a_shift);
    v = vmulq_n_s32(nt_add_scaled(v, p->b_multiplier, p->b_shift), p->sign);
    u = vaddq_n_s32(nt_add_scaled(vaddq_s32(u, v), p->multiplier, p->shift), p->offset);
    u = vminq_s32(vmaxq_s32(u, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
    vstrbq_p_s32(y + i, u, live);
  }
#else
  for (int32_t i = 0; i < count; i++) {
    int32_t u = nt_add_scaled((a[i] + p->a_offset) * (1 << 20), p->a_multiplier, p->a_shift);
    int32_t v = nt_add_scaled((b[i] + p->b_offset) * (1 << 20), p->b_multiplier, p->b_shift);
    u = nt_add_scaled(u + v * p->sign, p->multiplier, p->shift) + p->offset;
    y[i] = (int8_t)(u < p->low ? p->low : u > p->high ? p->high : u);
  }
#endif
}
