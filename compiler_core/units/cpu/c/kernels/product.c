typedef struct {
  int32_t a_offset, b_offset, multiplier, shift, offset, low, high;
} nt_product;
