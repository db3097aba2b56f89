/* Arithmetic of 32 bits: what leaves the range comes in at its other end. */
typedef enum {
  NT_ADD, NT_SUB, NT_MUL, NT_DIV, NT_MOD, NT_FMOD, NT_MIN, NT_MAX, NT_POW,
  NT_AND, NT_OR, NT_XOR, NT_LEFT, NT_RIGHT, NT_ARITHMETIC
} nt_whole_function;

static inline int32_t nt_whole_wrap(uint32_t bits) {
  return bits < 0x80000000u ? (int32_t)bits : -(int32_t)(0xffffffffu - bits) - 1;
}

/* By squaring; one over a power has no fraction left. */
static inline int32_t nt_whole_power(int32_t a, int32_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  uint32_t base = (uint32_t)a, found = 1u;
  for (; b; b >>= 1) {
    if (b & 1) found *= base;
    base *= base;
  }
  return nt_whole_wrap(found);
}

static inline int32_t nt_whole_result(nt_whole_function function, int32_t a, int32_t b) {
  switch (function) {
    case NT_ADD: return nt_whole_wrap((uint32_t)a + (uint32_t)b);
    case NT_SUB: return nt_whole_wrap((uint32_t)a - (uint32_t)b);
    case NT_MUL: return nt_whole_wrap((uint32_t)a * (uint32_t)b);
    case NT_DIV: return b == 0 ? 0 : b == -1 ? nt_whole_wrap(0u - (uint32_t)a) : a / b;
    case NT_MOD: {
      int32_t rest = b == 0 || b == -1 ? 0 : a % b;
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    case NT_FMOD: return b == 0 || b == -1 ? 0 : a % b;
    case NT_POW: return nt_whole_power(a, b);
    case NT_AND: return nt_whole_wrap((uint32_t)a & (uint32_t)b);
    case NT_OR: return nt_whole_wrap((uint32_t)a | (uint32_t)b);
    case NT_XOR: return nt_whole_wrap((uint32_t)a ^ (uint32_t)b);
    case NT_LEFT: return b < 0 || b > 31 ? 0 : nt_whole_wrap((uint32_t)a << b);
    case NT_RIGHT: return b < 0 || b > 31 ? 0 : nt_whole_wrap((uint32_t)a >> b);
    case NT_ARITHMETIC: {
      int32_t far = b < 0 || b > 31 ? 31 : b;
      return a < 0 ? ~(~a >> far) : a >> far;
    }
    case NT_MIN: return b < a ? b : a;
    default: return b > a ? b : a;
  }
}
