/* needs: exp_f log_f limit */
static void nt_map_softplus(int32_t count, float a, float b, const float *x, float *y) {
  (void)a;
  (void)b;
  for (int32_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = nt_limit(v, 0.0f, nt_infinity()) + nt_logf(1.0f + nt_expf(-(v < 0.0f ? -v : v)));
  }
}
