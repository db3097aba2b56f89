/* needs: exp_f */
static float nt_tanhf(float x) {
  float size = x < 0.0f ? -x : x, z = x * x;
  if (size < 0.625f) {
    float y = -5.70498872745e-3f;
    y = y * z + 2.06390887954e-2f;
    y = y * z + -5.37397155531e-2f;
    y = y * z + 1.33314422036e-1f;
    y = y * z + -3.33332819422e-1f;
    return (y * z) * x + x;
  }
  float far = 1.0f - 2.0f / (nt_expf(size + size) + 1.0f);
  return x < 0.0f ? -far : far;
}
