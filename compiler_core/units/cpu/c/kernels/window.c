typedef struct {
  int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t kernel_h, kernel_w, stride_h, stride_w, step_h, step_w, pad_h, pad_w;
  int32_t own, each; /* channels of a group: of the input, of the output */
  int32_t in_offset, out_offset, low, high;
} nt_window;
