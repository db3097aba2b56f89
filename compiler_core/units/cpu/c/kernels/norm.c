typedef struct {
  float spread, step, epsilon;
  int32_t offset, low, high;
} nt_norm;
