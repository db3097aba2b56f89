/* Four sums side by side. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
typedef int32x4_t nt_v4;
static inline nt_v4 nt_v4_load(const int32_t *from) { return vldrwq_s32(from); }
#else
typedef struct {
  int32_t b[4];
} nt_v4;
static inline nt_v4 nt_v4_load(const int32_t *from) {
  nt_v4 v;
  for (int k = 0; k < 4; k++) v.b[k] = from[k];
  return v;
}
#endif
