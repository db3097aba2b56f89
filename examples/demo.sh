#!/usr/bin/env bash
# The main job on a bundled example: a study that ends in a compiled package and a report.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

mkdir -p out
show nest-tune doctor
show nest-tune study start examples/digits/study.toml --if-exists replace --output out/package
show nest-tune run out/package --inputs examples/digits/eval.npz --outputs out/y.npz --check
show nest-tune evaluate out/package --data examples/digits/eval.npz --against examples/digits/model.onnx
show nest-tune profile out/package --trace out/trace.json
show nest-tune study report digits --storage sqlite:///out/nest-tune.db -o out/report.html
cat <<'TXT'

out/package is the fastest that the study found without loss of accuracy; out/report.html shows the others, from
the fastest to the one of least memory, and why: open it in a browser (xdg-open out/report.html). The timeline of
out/package, out/trace.json, opens at https://ui.perfetto.dev. What to try next:

  . .venv/bin/activate; export NEST_TUNE_STORAGE=sqlite:///out/nest-tune.db
  nest-tune study best digits --pick knee                  half the memory, 1.5 times the latency
  nest-tune study explain digits                           what each decision is worth
  nest-tune study export digits -o best.toml               the lock file for continuous integration
  nest-tune ci check best.toml --data examples/digits/eval.npz
  nest-tune compile your.onnx --target vta-pynq --calibration your-calib.npz -o package
TXT
