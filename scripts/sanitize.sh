#!/usr/bin/env bash
# Builds tests for a tool that watches them, and runs them.
#
#   scripts/sanitize.sh asan [TEST …]       addresses, leaks and undefined behaviour; all test programs but cli_test by default
#   scripts/sanitize.sh tsan [TEST …]       data races; by default in the data pipeline and the checkpoint writer
#   scripts/sanitize.sh valgrind [TEST …]   memcheck over the readers, in the release build (needs valgrind)
#
# TEST is a program (io_test) or some tests of one (base_test:Pipeline*). What is left out, and why, stands below and in
# docs/security.md.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=${1:-}
[ $# -gt 0 ] && shift
preset=$tool
run=()
case "$tool" in
    asan)
        tests=(base_test io_test text_test image_test nn_test models_test rewards_test tasks_test rollout_test train_test rl_test eval_test
               report_test)  # not cli_test: it limits the address space of its children and waits for them by the clock
        export ASAN_OPTIONS=detect_leaks=1
        export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ;;
    tsan)
        tests=(base_test "train_test:Writer*")
        # LibTorch and OpenMP are not instrumented: what they do among themselves does not count.
        export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1 OMP_NUM_THREADS=1
        run=(setarch --addr-no-randomize) ;;  # GCC 12's runtime does not know the address layout of newer kernels
    valgrind)
        preset=release
        tests=(base_test io_test text_test image_test)
        run=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
             --suppressions=tests/support/valgrind.supp) ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
export OMP_WAIT_POLICY=passive
[ $# -gt 0 ] && tests=("$@")

programs=$(printf '%s\n' "${tests[@]%%:*}" | sort -u)
# shellcheck disable=SC2086
scripts/build.sh "$preset" $programs
failed=()
for test in "${tests[@]}"; do
    program=${test%%:*} filter='*'
    [ "$program" = "$test" ] || filter=${test#*:}
    echo "== $tool: $program $filter"
    "${run[@]}" "build/$preset/bin/$program" --gtest_brief=1 --gtest_filter="$filter" || failed+=("$test")
done
[ ${#failed[@]} -eq 0 ] || { echo "sanitize: failed under $tool: ${failed[*]}" >&2; exit 1; }
