/* needs: round_f */
/* The sine of x and so many quarters of a turn. */
static float nt_sinf(float x, int32_t ahead) {
  float turns = x * 0.6366197723675814f;
  if (!(turns > -4194304.0f && turns < 4194304.0f)) x = turns = 0.0f;
  float n = nt_round(turns);
  float r = ((x - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.54978995489188e-8f;
  int32_t quarter = ((int32_t)n + ahead) & 3;
  float z = r * r, y;
  if (quarter & 1) {
    y = 2.443315711809948e-5f;
    y = y * z + -1.388731625493765e-3f;
    y = y * z + 4.166664568298827e-2f;
    y = (y * z) * z - 0.5f * z + 1.0f;
  } else {
    y = -1.9515295891e-4f;
    y = y * z + 8.3321608736e-3f;
    y = y * z + -1.6666654611e-1f;
    y = (y * z) * r + r;
  }
  return quarter & 2 ? -y : y;
}
