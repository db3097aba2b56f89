/* A place of count: negative ones count from the end, others go to the nearest end. */
static inline int32_t nt_within(int32_t place, int32_t count) {
  if (place < 0) place += count;
  return place < 0 ? 0 : place >= count ? count - 1 : place;
}
