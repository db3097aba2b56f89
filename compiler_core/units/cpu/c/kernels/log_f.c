/* needs: bits word infinity */
static float nt_logf(float x) {
  if (x < 1.17549435e-38f) return -nt_infinity();
  if (!(x < nt_infinity())) return x;
  uint32_t bits = nt_word(x);
  int32_t exponent = (int32_t)(bits >> 23) - 126;
  float m = nt_float((bits & 0x007FFFFFu) | 0x3F000000u);
  if (m < 0.707106781f) {
    exponent--;
    m = (m + m) - 1.0f;
  } else {
    m = m - 1.0f;
  }
  float n = (float)exponent, z = m * m, y = 7.0376836292e-2f;
  y = y * m + -1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m + -1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m + -1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m + -2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = (y * m) * z;
  y = y + n * -2.12194440e-4f;
  y = y - 0.5f * z;
  return (m + y) + n * 0.693359375f;
}
