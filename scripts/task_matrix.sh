#!/usr/bin/env bash
# What training on one task does to the others: trains once with each configuration, evaluates every model on the tasks of all of
# them (held-out images), and prints the table, with the common starting model as its first row.
#
#   scripts/task_matrix.sh --output DIR CONFIG.yaml CONFIG.yaml… [-- --set KEY=VALUE…]
#
# Each configuration has one task; the row and the column bear the file's name. Runs and results lie in DIR; the same command goes
# on where it was stopped.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
ssl4rl=$repository/build/release/bin/ssl4rl
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }

output='' configs=() settings=()
while [ $# -gt 0 ]; do
    case $1 in
        --output) [ $# -gt 1 ] || usage; output=$2; shift 2 ;;
        --) shift; settings=("$@"); break ;;
        -*) usage ;;
        *) configs+=("$1"); shift ;;
    esac
done
if [ -z "$output" ] || [ ${#configs[@]} -lt 2 ]; then usage; fi
[ -x "$ssl4rl" ] || { echo "task_matrix: $ssl4rl: build it first (scripts/build.sh)" >&2; exit 2; }

name_of() { basename "$1" .yaml; }
value_of() { awk -v key="$1" '{ sub(/^ *- /, "  "); gsub(/"/, "") } $1 == key ":" { sub(/^ *[a-z]*: /, ""); print; exit }' "$2"; }  # KEY RUN/config.yaml

for config in "${configs[@]}"; do
    "$ssl4rl" train --config "$config" "${settings[@]}" --set "run.output_dir=$output" --set "run.name=$(name_of "$config")" --resume auto
done

# accuracy MODEL ROW COLUMN: the share of the column's held-out puzzles that the model solves.
accuracy() {
    local task results=$output/$3/matrix/$2
    task=$(awk '/^tasks:/ { inside = 1 } inside && /name:/ { sub(/.*name: */, ""); gsub(/"/, ""); print; exit }' "$output/$3/config.yaml")
    "$ssl4rl" eval --quiet --bench "$task" --model "$1" --config "$output/$3/config.yaml" --output "$results" >/dev/null
    awk -F'[:,]' '/"overall"/ { printf "%.3f", $2 / 100 }' "$results/$task/result.json"
}

row() {  # MODEL NAME
    local line="| $2 |" share
    for config in "${configs[@]}"; do
        share=$(accuracy "$1" "$2" "$(name_of "$config")")
        line+=" $share |"
    done
    echo "$line"
}

echo; printf '| trained on \\ tested on |'
for config in "${configs[@]}"; do printf ' %s |' "$(name_of "$config")"; done
printf '\n|---|'; printf -- '---|%.0s' "${configs[@]}"; echo
row "$(value_of path "$output/$(name_of "${configs[0]}")/config.yaml")" start
for config in "${configs[@]}"; do
    checkpoints=("$output/$(name_of "$config")"/checkpoints/step-*)
    row "${checkpoints[-1]}" "$(name_of "$config")"
done
