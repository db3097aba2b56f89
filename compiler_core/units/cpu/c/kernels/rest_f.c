/* needs: bits infinity */
/* What is left of a division without fraction, exactly: with the sign of a. */
static float nt_restf(float a, float b) {
  if (a != a || b != b || b == 0.0f || a - a != 0.0f) return nt_float(0x7FC00000u);
  float left = a < 0.0f ? -a : a, size = b < 0.0f ? -b : b;
  if (left < size) return a;
  float scaled = size;
  while (scaled <= left * 0.5f) scaled *= 2.0f;
  for (; scaled >= size; scaled *= 0.5f)
    if (left >= scaled) left -= scaled;
  return a < 0.0f ? -left : left;
}
