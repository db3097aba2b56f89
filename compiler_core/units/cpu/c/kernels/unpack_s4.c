/* needs: load32 store32 */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif
/* Weights of 4 bits as bytes: of each eight, the first four in the low halves of four bytes. */
static inline void nt_unpack_s4(int32_t groups, const uint8_t *from, int8_t *to) {
  int32_t i = 0;
#if defined(__ARM_FEATURE_MVE)
  for (; i + 4 <= groups; i += 4, from += 16, to += 32) {
    int8x16_t v = vreinterpretq_s8_u8(vldrbq_u8(from));
    int32x4x2_t halves;
    halves.val[0] = vreinterpretq_s32_s8(vshrq_n_s8(vshlq_n_s8(v, 4), 4));
    halves.val[1] = vreinterpretq_s32_s8(vshrq_n_s8(v, 4));
    vst2q_s32((int32_t *)(void *)to, halves);
  }
#endif
  for (; i < groups; i++, from += 4, to += 8) {
    uint32_t v = nt_load32(from);
    uint32_t low = (v & 0x0F0F0F0Fu) ^ 0x08080808u, high = ((v >> 4) & 0x0F0F0F0Fu) ^ 0x08080808u;
    nt_store32(to, ((low | 0x80808080u) - 0x08080808u) ^ 0x80808080u);
    nt_store32(to + 4, ((high | 0x80808080u) - 0x08080808u) ^ 0x80808080u);
  }
}
