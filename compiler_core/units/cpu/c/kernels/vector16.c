/* Eight numbers of 16 bits, of bytes where they are weights; their products added to a sum. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
typedef int16x8_t nt_v8;
static inline nt_v8 nt_v8_load(const int16_t *from) { return vldrhq_s16(from); }
static inline nt_v8 nt_v8_bytes(const int8_t *from) { return vldrbq_s16(from); }
static inline int32_t nt_v8_dot(int32_t sum, nt_v8 a, nt_v8 b) { return vmladavaq_s16(sum, a, b); }
#else
typedef struct {
  int16_t b[8];
} nt_v8;
static inline nt_v8 nt_v8_load(const int16_t *from) {
  nt_v8 v;
  for (int k = 0; k < 8; k++) v.b[k] = from[k];
  return v;
}
static inline nt_v8 nt_v8_bytes(const int8_t *from) {
  nt_v8 v;
  for (int k = 0; k < 8; k++) v.b[k] = from[k];
  return v;
}
static inline int32_t nt_v8_dot(int32_t sum, nt_v8 a, nt_v8 b) {
  for (int k = 0; k < 8; k++) sum += a.b[k] * b.b[k];
  return sum;
}
#endif
