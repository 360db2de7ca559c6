#!/usr/bin/env bash
# Packs the built program for a machine without scripts/setup.sh's packages: its libraries come along, but for LibTorch's and
# CUDA's, which that machine has as Python's torch (of the version in cmake/LibTorch.cmake), and the C and C++ libraries.
#
#   scripts/bundle.sh [cuda|release] FILE.tar.xz
#
# There, in a checkout of the same commit:  tar xf FILE.tar.xz && source build/bundle/environment && scripts/gpu_check.sh
# The C library must not be older than here.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

build=cuda
case "${1:-}" in
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    cuda|release) build=$1; shift ;;
esac
[ $# = 1 ] || { echo "bundle: expected one file (try --help)" >&2; exit 2; }
programs=$repository/build/$build/bin
[ -x "$programs/ssl4rl" ] || { echo "bundle: $programs/ssl4rl is not there; run scripts/build.sh $build" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/build/$build/bin" "$folder/build/bundle/lib"
for program in ssl4rl device_test; do
    [ ! -x "$programs/$program" ] || install -s "$programs/$program" "$folder/build/$build/bin/"
done

left_out='/(torch|nvidia|cuda[^/]*)/|/lib(torch|c10|cudart|cuda|gomp|c|m|dl|rt|pthread|stdc\+\+|gcc_s)[.-]|/ld-linux'
ldd "$programs/ssl4rl" "$programs/device_test" 2>/dev/null | awk '$3 ~ /^\// { print $3 }' | sort -u |
    grep -vE "$left_out" | xargs cp -L -t "$folder/build/bundle/lib"

cat >"$folder/build/bundle/environment" <<'ENVIRONMENT'
# Sourced in the checkout: where the bundled libraries are, and LibTorch's ($LIBTORCH, or Python's torch).
bundle=$PWD/build/bundle
torch=${LIBTORCH:-$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')}
export LD_LIBRARY_PATH=$bundle/lib:$torch/lib$(printf ':%s' "$torch"/../nvidia/*/lib)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
ENVIRONMENT
XZ_OPT='-5 -T0' tar -C "$folder" -cJf "$1" build
echo "$1: $(du -h "$1" | cut -f1), of it $(find "$folder/build/bundle/lib" -type f | wc -l) libraries"
