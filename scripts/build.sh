#!/usr/bin/env bash
# Configures and builds.
#
#   scripts/build.sh [PRESET] [TARGET…]      PRESET: release (default), debug, asan, cuda; TARGET: all by default
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[ $# -gt 0 ] && shift
cmake --preset "$preset" >/dev/null
exec cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"}
