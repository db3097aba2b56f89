/* Two operands of a result in row order; an operand that is repeated along an axis has step 0.
 * Axes of one element come first, and are no loops where sizes are known. */
typedef struct {
  int32_t s0, s1, s2, s3, s4, s5, a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5;
} nt_walk;

#define NT_AXIS(w, k, i, u, v, first, second) \
  for (int32_t i = 0, u = first, v = second; i < (w)->s##k; i++, u += (w)->a##k, v += (w)->b##k)
/* For every element, at and bt are its places in the operands. */
#define NT_WALK(w, at, bt) \
  NT_AXIS(w, 0, i0, u0, v0, 0, 0) \
  NT_AXIS(w, 1, i1, u1, v1, u0, v0) \
  NT_AXIS(w, 2, i2, u2, v2, u1, v1) \
  NT_AXIS(w, 3, i3, u3, v3, u2, v2) \
  NT_AXIS(w, 4, i4, u4, v4, u3, v3) \
  NT_AXIS(w, 5, i5, at, bt, u4, v4)
