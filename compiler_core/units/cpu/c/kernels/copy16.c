/* needs: load32 store32 */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

static inline int16_t *nt_copy16(int16_t *to, const int16_t *from, int32_t count) {
  int32_t i = 0;
#if defined(__ARM_FEATURE_MVE)
  for (; i < count; i += 8) {
    mve_pred16_t p = vctp16q((uint32_t)(count - i));
    vstrhq_p_s16(to + i, vldrhq_z_s16(from + i, p), p);
  }
#else
  for (; i + 2 <= count; i += 2) nt_store32(to + i, nt_load32(from + i));
  if (i < count) to[i] = from[i];
#endif
  return to + count;
}
