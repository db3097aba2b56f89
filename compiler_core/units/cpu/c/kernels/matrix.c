typedef struct {
  int32_t batch, rows, depth, columns;
  int32_t in_offset, other_offset, out_offset, low, high, multiplier, shift;
} nt_matrix;
