/* needs: clamp requant */
typedef struct {
  int32_t offset, left, multiplier, shift, out_offset, low, high;
} nt_rescale;

static inline int32_t nt_rescaled(const nt_rescale *p, int32_t x) {
  int32_t v = (x + p->offset) * (1 << p->left);
  return nt_clamp(nt_requant(v, p->multiplier, p->shift) + p->out_offset, p->low, p->high);
}
