/* Sixteen bytes. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
typedef int8x16_t nt_v16;
#else
typedef struct {
  int8_t b[16];
} nt_v16;
#endif

static inline nt_v16 nt_v16_load(const int8_t *from) {
#if defined(__ARM_FEATURE_MVE)
  return vldrbq_s8(from);
#else
  nt_v16 v;
  for (int k = 0; k < 16; k++) v.b[k] = from[k];
  return v;
#endif
}
