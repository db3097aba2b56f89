static float nt_atanf(float x) {
  float size = x < 0.0f ? -x : x, y = 0.0f, part = size;
  if (size > 2.414213562373095f) {
    y = 1.5707963267948966f;
    part = -(1.0f / size);
  } else if (size > 0.4142135623730950f) {
    y = 0.7853981633974483f;
    part = (size - 1.0f) / (size + 1.0f);
  }
  float z = part * part, found = 8.05374449538e-2f;
  found = found * z + -1.38776856032e-1f;
  found = found * z + 1.99777106478e-1f;
  found = found * z + -3.33329491539e-1f;
  found = y + ((found * z) * part + part);
  return x < 0.0f ? -found : found;
}
