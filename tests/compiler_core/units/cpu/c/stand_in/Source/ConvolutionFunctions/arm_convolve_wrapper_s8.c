/* A convolution in plain loops: slower than any of the generated kernels. */
#include "arm_nnfunctions.h"

static int32_t scaled(int32_t sum, int32_t multiplier, int32_t shift) {
  int64_t wide = (int64_t)sum * multiplier + ((int64_t)1 << 30);
  int32_t high = (int32_t)(wide >> 31), right = -shift, mask, rest;
  if (right <= 0) return high;
  mask = (int32_t)((1u << right) - 1u);
  rest = high & mask;
  return (high >> right) + (rest > (mask >> 1) + (high < 0));
}

arm_cmsis_nn_status arm_convolve_wrapper_s8(
    const cmsis_nn_context *context, const cmsis_nn_conv_params *window,
    const cmsis_nn_per_channel_quant_params *scaling, const cmsis_nn_dims *input, const int8_t *x,
    const cmsis_nn_dims *filter, const int8_t *weights, const cmsis_nn_dims *biases,
    const int32_t *bias, const cmsis_nn_dims *output, int8_t *y) {
  int32_t n, row, column, o, i, j, c;
  (void)biases;
  if (context->buf == 0 || context->size < 16) return ARM_CMSIS_NN_ARG_ERROR;
  for (n = 0; n < input->n; n++)
    for (row = 0; row < output->h; row++)
      for (column = 0; column < output->w; column++)
        for (o = 0; o < output->c; o++) {
          volatile int32_t sum = bias[o];
          int32_t result;
          for (i = 0; i < filter->h; i++)
            for (j = 0; j < filter->w; j++) {
              int32_t r = row * window->stride.h - window->padding.h + i * window->dilation.h;
              int32_t q = column * window->stride.w - window->padding.w + j * window->dilation.w;
              if (r < 0 || q < 0 || r >= input->h || q >= input->w) continue;
              for (c = 0; c < input->c; c++)
                sum += (x[((n * input->h + r) * input->w + q) * input->c + c] +
                        window->input_offset) *
                       weights[((o * filter->h + i) * filter->w + j) * input->c + c];
            }
          result = scaled(sum, scaling->multiplier[o], scaling->shift[o]) + window->output_offset;
          if (result < window->activation.min) result = window->activation.min;
          if (result > window->activation.max) result = window->activation.max;
          *y++ = (int8_t)result;
        }
  return ARM_CMSIS_NN_SUCCESS;
}
