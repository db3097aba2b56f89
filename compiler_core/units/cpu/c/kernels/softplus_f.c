/* needs: exp_f log_f limit */
static float nt_softplusf(float x) {
  return nt_limit(x, 0.0f, nt_infinity()) + nt_logf(1.0f + nt_expf(-(x < 0.0f ? -x : x)));
}
