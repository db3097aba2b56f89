/* needs: exp_f */
static float nt_erff(float x) {
  float size = x < 0.0f ? -x : x, z = x * x;
  if (size < 0.5f) {
    float y = (float)(-1.0 / 1320);
    y = y * z + (float)(1.0 / 216);
    y = y * z + (float)(-1.0 / 42);
    y = y * z + 0.1f;
    y = y * z + (float)(-1.0 / 3);
    return ((y * z) * x + x) * 1.12837916709551f;
  }
  float t = 1.0f / (1.0f + 0.3275911f * size), y = 1.061405429f;
  y = y * t + -1.453152027f;
  y = y * t + 1.421413741f;
  y = y * t + -0.284496736f;
  y = y * t + 0.254829592f;
  float far = 1.0f - (y * t) * nt_expf(-z);
  return x < 0.0f ? -far : far;
}
