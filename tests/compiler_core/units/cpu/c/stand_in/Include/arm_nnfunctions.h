/*
 * A stand-in for tests: two calls of CMSIS-NN, with the signatures of its version.
 * $Revision: V.19.1.0
 */
#ifndef ARM_NNFUNCTIONS_H
#define ARM_NNFUNCTIONS_H

#include "arm_nn_types.h"

arm_cmsis_nn_status arm_convolve_wrapper_s8(
    const cmsis_nn_context *context, const cmsis_nn_conv_params *window,
    const cmsis_nn_per_channel_quant_params *scaling, const cmsis_nn_dims *input, const int8_t *x,
    const cmsis_nn_dims *filter, const int8_t *weights, const cmsis_nn_dims *biases,
    const int32_t *bias, const cmsis_nn_dims *output, int8_t *y);

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *context,
                                    const cmsis_nn_pool_params *window, const cmsis_nn_dims *input,
                                    const int8_t *x, const cmsis_nn_dims *filter,
                                    const cmsis_nn_dims *output, int8_t *y);

#endif
