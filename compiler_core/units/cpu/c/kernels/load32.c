/* Four bytes of any alignment. */
static inline uint32_t nt_load32(const void *from) {
#if defined(__GNUC__)
  uint32_t v;
  __builtin_memcpy(&v, from, 4);
  return v;
#else
  const uint8_t *b = (const uint8_t *)from;
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
#endif
}
