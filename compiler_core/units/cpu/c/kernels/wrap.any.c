/* The lowest bits of whole numbers, counted from low on: what leaves the range comes in at its other
 * end. They are stored from base on. */
static inline void nt_wrap_@S(int32_t count, int32_t mask, int32_t low, int32_t base, const int32_t *x, @T *y) {
  for (int32_t i = 0; i < count; i++)
    y[i] = (@T)((int32_t)(((uint32_t)x[i] - (uint32_t)low) & (uint32_t)mask) + base);
}
