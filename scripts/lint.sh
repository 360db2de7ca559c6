#!/usr/bin/env bash
# Checks formatting, shell scripts, and (with clang-tidy) the layers that clang can parse: LibTorch's C++20 headers need
# a newer clang than Debian's, so the layers that include them are left to GCC's warnings, which are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/format.sh --check
command -v shellcheck >/dev/null && shellcheck scripts/*.sh .ci/run
[ -f build/release/compile_commands.json ] || scripts/build.sh release
mapfile -t files < <(git ls-files 'src/base/*.cpp' 'src/text/*.cpp' 'src/image/*.cpp' 'src/report/*.cpp' 'src/tasks/*.cpp' 'src/rewards/*.cpp')
clang-tidy --quiet -p build/release "${files[@]}"
