/* needs: bits round_f infinity */
static inline float nt_power(int32_t n) { return nt_float((uint32_t)(n + 127) << 23); }

static float nt_expf(float x) {
  if (x != x) return x;
  if (!(x > -87.0f)) return 0.0f;
  if (!(x < 88.7f)) return nt_infinity();
  float n = nt_round(x * 1.44269504088896341f);
  float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 0.5f;
  y = (y * (r * r) + r) + 1.0f;
  int32_t whole = (int32_t)n, half = whole >> 1;
  return (y * nt_power(half)) * nt_power(whole - half);
}
