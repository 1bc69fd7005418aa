#!/bin/sh
# Compiles the steering program, for XDP and for tc, to FOLDER (default: beside the source, and records what it was made
# from). clang 14 is what the checked-in objects are made with; another version makes other code.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
clang=$(command -v clang-14 || command -v clang)
strip=$(command -v llvm-strip-14 || command -v llvm-strip)
for way in XDP TC; do
	[ "$way" = TC ] && object=$out/steer_tc.bpf.o || object=$out/steer.bpf.o
	"$clang" -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -DSTEER_$way -fdebug-compilation-dir=. -c steer.bpf.c -o "$object"
	# BTF stays (the maps are described in it), debugging information goes.
	"$strip" -g "$object"
done
[ "$#" -gt 0 ] || sha256sum steer.h credit.h kernels.h guard.h way.h steer.bpf.c steer.bpf.o steer_tc.bpf.o > SHA256SUMS
