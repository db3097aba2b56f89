/* needs: round_f */
/* An integer, half to even, saturated at 65536; NaN is the lowest. */
static inline int32_t nt_whole(float x) {
  float low = x > -65536.0f ? x : -65536.0f;
  return (int32_t)nt_round(low < 65536.0f ? low : 65536.0f);
}
