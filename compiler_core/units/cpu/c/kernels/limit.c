static inline float nt_limit(float x, float low, float high) {
  float above = x < low ? low : x;
  return above > high ? high : above;
}
