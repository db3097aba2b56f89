/* Two numbers of 16 bits in a word, the low one first. */
static inline int32_t nt_low(uint32_t v) { return (int16_t)(v & 0xFFFFu); }
static inline int32_t nt_up(uint32_t v) { return (int16_t)(v >> 16); }
static inline uint32_t nt_join(int32_t low, int32_t up) {
  return ((uint32_t)low & 0xFFFFu) | (uint32_t)up << 16;
}
