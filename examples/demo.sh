#!/usr/bin/env bash
# Shows what nest-tune can do so far; `make demo` runs it in a fresh environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

mkdir -p out
show nest-tune doctor
show nest-tune target list
show nest-tune simulate examples/conv.npz --target vta --outputs out/after.npz --trace out/trace.json
show nest-tune simulate examples/conv.npz --target vta --profile rtl2020
echo
echo "out/after.npz holds the memory after the program; open out/trace.json at https://ui.perfetto.dev"
