#!/bin/sh
# Compiles the steering program to OUT (default: steer.bpf.o beside the source, and records what it was made from).
# clang 14 is what the checked-in object is made with; another version makes other code.
set -eu
cd "$(dirname "$0")"
out=${1:-steer.bpf.o}
clang=$(command -v clang-14 || command -v clang)
strip=$(command -v llvm-strip-14 || command -v llvm-strip)
"$clang" -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -fdebug-compilation-dir=. -c steer.bpf.c -o "$out"
# BTF stays (the maps are described in it), debugging information goes.
"$strip" -g "$out"
[ "$#" -gt 0 ] || sha256sum steer.h credit.h kernels.h steer.bpf.c steer.bpf.o > SHA256SUMS
