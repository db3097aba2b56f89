/* A row of depth per place: on there, off elsewhere. */
static inline void nt_one_hot_@S(int32_t count, int32_t depth, @T off, @T on, const int32_t *places,
                        @T *y) {
  for (int32_t i = 0; i < count; i++) {
    int32_t place = places[i] < 0 ? places[i] + depth : places[i];
    for (int32_t k = 0; k < depth; k++) *y++ = k == place ? on : off;
  }
}
