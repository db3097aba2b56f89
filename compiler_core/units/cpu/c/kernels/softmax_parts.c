/* needs: checks clamp divide */
static inline int32_t nt_high(int32_t a, int32_t b) {
  int64_t product = ((int64_t)a * b + ((int64_t)1 << 30)) >> 31;
  return product > INT32_MAX ? INT32_MAX : (int32_t)product;
}

/* exp(a / 2^26) for a <= 0, in 31 fractional bits. */
static inline int32_t nt_exp(int32_t a) {
  static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242};
  if (a == 0) return INT32_MAX;
  int32_t quarter = (a & 0xFFFFFF) - 0x1000000, rest = quarter - a;
  int32_t x = 32 * quarter + (1 << 28), square = nt_high(x, x);
  int32_t inner = nt_divide(nt_high(square, square), 2) + nt_high(square, x);
  int32_t series = nt_divide(nt_high(inner, 715827883) + square, 1);
  int32_t found = 1895147668 + nt_high(1895147668, x + series);
  for (int32_t k = 0; k < 7; k++)
    if (((rest >> (24 + k)) & 1) != 0) found = nt_high(found, factors[k]);
  return found;
}

static inline int32_t nt_saturated(int64_t v) {
  return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}

/* 1 / (1 + a / 2^31) in 31 fractional bits. */
static inline int32_t nt_reciprocal(int32_t a) {
  int64_t sum = (int64_t)a + INT32_MAX;
  int32_t half = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
  int32_t x = 1515870810 + nt_high(half, -1010580540);
  for (int k = 0; k < 3; k++) {
    int32_t error = (1 << 29) - nt_high(half, x);
    x = (int32_t)((uint32_t)x + (uint32_t)nt_saturated((int64_t)4 * nt_high(x, error)));
  }
  return nt_saturated((int64_t)2 * x);
}
