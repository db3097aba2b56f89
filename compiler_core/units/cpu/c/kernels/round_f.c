/* To the nearest integer, half to even, for magnitudes below 2^22. */
static inline float nt_round(float x) {
  float moved = x + 12582912.0f;
  return moved - 12582912.0f;
}
