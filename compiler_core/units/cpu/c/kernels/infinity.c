/* needs: bits */
static inline float nt_infinity(void) { return nt_float(0x7F800000u); }
