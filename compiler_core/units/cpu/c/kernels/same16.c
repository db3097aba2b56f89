static inline int16_t *nt_same16(int16_t *to, int32_t value, int32_t count) {
  for (int32_t i = 0; i < count; i++) *to++ = (int16_t)value;
  return to;
}
