/* That of two classes it is the first. */
static float nt_couple_pair(const float *x, int32_t classes, int32_t i, int32_t j) {
  int32_t first = i < j ? i : j, second = i < j ? j : i;
  float share = x[first * (2 * classes - first - 1) / 2 + second - first - 1];
  return i < j ? share : 1.0f - share;
}

static float nt_couple_both(const float *x, int32_t classes, int32_t i, int32_t j) {
  if (i != j) return -(nt_couple_pair(x, classes, j, i) * nt_couple_pair(x, classes, i, j));
  float total = 0.0f;
  for (int32_t k = 0; k < classes; k++) {
    if (k == i) continue;
    float share = nt_couple_pair(x, classes, k, i);
    total = total + share * share;
  }
  return total;
}

/* Probabilities of classes, at most 32, from those of pairs. */
static inline void nt_couple(int32_t rows, int32_t classes, const float *x, float *y) {
  float product[32];
  for (int32_t n = 0; n < rows; n++, x += classes * (classes - 1) / 2, y += classes) {
    for (int32_t i = 0; i < classes; i++) y[i] = 1.0f / (float)classes;
    for (int32_t time = 0; time < 100; time++) {
      float whole = 0.0f;
      int32_t ends = 1;
      for (int32_t i = 0; i < classes; i++) {
        product[i] = 0.0f;
        for (int32_t j = 0; j < classes; j++)
          product[i] = product[i] + nt_couple_both(x, classes, i, j) * y[j];
      }
      for (int32_t i = 0; i < classes; i++) whole = whole + y[i] * product[i];
      for (int32_t i = 0; i < classes; i++) {
        float apart = product[i] - whole;
        if ((apart < 0.0f ? -apart : apart) >= 0.005f / (float)classes) ends = 0;
      }
      if (ends) break;
      for (int32_t i = 0; i < classes; i++) {
        float own = nt_couple_both(x, classes, i, i), before = product[i];
        float step = (whole - before) / own, rest = 1.0f + step;
        y[i] = y[i] + step;
        whole = (whole + step * (step * own + 2.0f * before)) / rest / rest;
        for (int32_t j = 0; j < classes; j++) {
          product[j] = (product[j] + step * nt_couple_both(x, classes, i, j)) / rest;
          y[j] = y[j] / rest;
        }
      }
    }
  }
}
