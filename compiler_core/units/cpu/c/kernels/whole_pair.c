/* needs: walk whole_result */
static inline void nt_whole_pair(const nt_walk *w, nt_whole_function function, const int32_t *a,
                                 const int32_t *b, int32_t *y) {
  NT_WALK(w, at, bt)
    *y++ = nt_whole_result(function, a[at], b[bt]);
}
