/* needs: load32 store32 */
/* Weights of 4 bits as bytes: of each eight, the first four in the low halves of four bytes. */
static inline void nt_unpack_s4(int32_t groups, const uint8_t *from, int8_t *to) {
  for (int32_t i = 0; i < groups; i++, from += 4, to += 8) {
    uint32_t v = nt_load32(from);
    uint32_t low = (v & 0x0F0F0F0Fu) ^ 0x08080808u, high = ((v >> 4) & 0x0F0F0F0Fu) ^ 0x08080808u;
    nt_store32(to, ((low | 0x80808080u) - 0x08080808u) ^ 0x80808080u);
    nt_store32(to + 4, ((high | 0x80808080u) - 0x08080808u) ^ 0x80808080u);
  }
}
