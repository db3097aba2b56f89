static inline void nt_store32(void *to, uint32_t v) {
#if defined(__GNUC__)
  __builtin_memcpy(to, &v, 4);
#else
  uint8_t *b = (uint8_t *)to;
  b[0] = (uint8_t)v;
  b[1] = (uint8_t)(v >> 8);
  b[2] = (uint8_t)(v >> 16);
  b[3] = (uint8_t)(v >> 24);
#endif
}
