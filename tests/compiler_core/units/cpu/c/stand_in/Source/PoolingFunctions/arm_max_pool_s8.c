/* The largest of a window, four channels at a time where the core can: faster than plain loops. */
#include <string.h>

#include "arm_nnfunctions.h"

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

static void larger(int8_t *best, const int8_t *x, int32_t count) {
#if defined(__ARM_FEATURE_SIMD32)
  for (; count >= 4; count -= 4, best += 4, x += 4) {
    int8x4_t a, b;
    memcpy(&a, best, 4);
    memcpy(&b, x, 4);
    (void)__ssub8(a, b);
    a = (int8x4_t)__sel((uint8x4_t)a, (uint8x4_t)b);
    memcpy(best, &a, 4);
  }
#endif
  for (; count > 0; count--, best++, x++)
    if (*x > *best) *best = *x;
}

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *context,
                                    const cmsis_nn_pool_params *window, const cmsis_nn_dims *input,
                                    const int8_t *x, const cmsis_nn_dims *filter,
                                    const cmsis_nn_dims *output, int8_t *y) {
  int32_t n, row, column, i, j, c, count = input->c;
  (void)context;
  for (n = 0; n < input->n; n++)
    for (row = 0; row < output->h; row++)
      for (column = 0; column < output->w; column++, y += count) {
        memset(y, -128, (size_t)count);
        for (i = 0; i < filter->h; i++)
          for (j = 0; j < filter->w; j++) {
            int32_t r = row * window->stride.h - window->padding.h + i;
            int32_t q = column * window->stride.w - window->padding.w + j;
            if (r < 0 || q < 0 || r >= input->h || q >= input->w) continue;
            larger(y, x + ((n * input->h + r) * input->w + q) * count, count);
          }
        if (window->activation.min == -128 && window->activation.max == 127) continue;
        for (c = 0; c < count; c++) {
          if (y[c] < window->activation.min) y[c] = (int8_t)window->activation.min;
          if (y[c] > window->activation.max) y[c] = (int8_t)window->activation.max;
        }
      }
  return ARM_CMSIS_NN_SUCCESS;
}
