/* needs: exp_f */
static inline float nt_sigmoidf(float x) { return 1.0f / (1.0f + nt_expf(-x)); }
