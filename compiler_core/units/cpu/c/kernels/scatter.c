/* Four bytes, sixteen apart. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
static inline void nt_scatter4(int8_t *to, const int8_t *from) {
  vstrbq_scatter_offset_s32(to, vshlq_n_u32(vidupq_n_u32(0, 8), 1), vldrbq_s32(from));
}
#else
static inline void nt_scatter4(int8_t *to, const int8_t *from) {
  for (int k = 0; k < 4; k++) to[16 * k] = from[k];
}
#endif
