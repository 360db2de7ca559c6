#!/usr/bin/env bash
# Measures a GRPO step beside TRL and transformers on the same machine, models and shapes, in turn (docs/performance.md).
#
#   scripts/bench_vs_trl.sh --size tiny|small|medium [--repeats N] [--like-for-like] [--json]
#
# Needs the peers' scripts (PEERS, ../shared/peers by default), pictures (IMAGES, ../shared/data/photos), and a Python with their
# requirements (PYTHON, python3 by default). Development only: ssl4rl itself needs no Python.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
scripts/build.sh release ssl4rl >&2
exec "${PYTHON:-python3}" scripts/bench_vs_trl.py --peers "${PEERS:-../shared/peers}" --images "${IMAGES:-../shared/data/photos}" "$@"
