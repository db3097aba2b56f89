typedef struct {
  int32_t a_offset, a_multiplier, a_shift, b_offset, b_multiplier, b_shift;
  int32_t sign, multiplier, shift, offset, low, high;
} nt_sum;
