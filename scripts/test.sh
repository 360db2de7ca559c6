#!/usr/bin/env bash
# Sets up, builds and runs the tests.
#
#   scripts/test.sh [PRESET]      PRESET: release (default), debug, asan
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
scripts/setup.sh
scripts/build.sh "$preset"
exec ctest --preset "$preset"
