#!/usr/bin/env bash
# From a clean clone to a model that has learned from unlabelled images: sets up, builds, writes a tiny random model and
# drawn pictures, trains, and evaluates before and after on held-out pictures (docs/demo.md).
#
#   scripts/demo.sh [--seed N] [--output DIR]
#
# SEED (0) fixes weights, pictures, puzzles and samples. DIR (runs/demo-N) gets everything that the demo writes; one that an
# earlier demo wrote is replaced. The last line is for programs.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

seed=0 output=
while [ $# -gt 0 ]; do
    case "$1" in
        --seed|--output) [ $# -gt 1 ] || { echo "demo: $1 needs a value" >&2; exit 2; } ;;&
        --seed) seed=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        -h|--help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "demo: unknown option $1 (try --help)" >&2; exit 2 ;;
    esac
done
[[ $seed =~ ^[0-9]{1,9}$ ]] || { echo "demo: --seed $seed: expected a whole number" >&2; exit 2; }
output=${output:-$repository/runs/demo-$seed}
if [ -e "$output" ] && [ ! -e "$output/.demo" ] && [ -n "$(ls -A "$output" 2>&1)" ]; then
    echo "demo: --output $output: holds files that no demo wrote; choose another folder" >&2
    exit 2
fi

"$repository/scripts/setup.sh"
"$repository/scripts/build.sh" release ssl4rl
ssl4rl=$repository/build/release/bin/ssl4rl

rm -rf "$output"
mkdir -p "$output"
touch "$output/.demo"
begun=$(date +%s)
settings=(--set "run.seed=$seed" --set "run.output_dir=$output" --set "data.images=[$output/model/images]")

# held_out NAME MODEL: the share of held-out pictures that the model turns upright.
held_out() {
    "$ssl4rl" eval --quiet --bench rotation --model "$2" --config "$repository/configs/demo/grpo.yaml" "${settings[@]}" --output "$output/eval/$1" >/dev/null
    awk -F'[:,]' '/"overall"/ { printf "%.2f", $2 / 100 }' "$output/eval/$1/rotation/result.json"
}

"$ssl4rl" init --preset demo --output "$output/model" --seed "$seed"
start=$(held_out start "$output/model")

echo; echo "Supervised start: answers drawn at random teach the form of an answer, nothing about pictures."
"$ssl4rl" sft --config "$repository/configs/demo/sft.yaml" --set "model.path=$output/model" "${settings[@]}"
checkpoints=("$output"/sft/checkpoints/step-*)
started=${checkpoints[-1]}
supervised=$(held_out supervised "$started")

echo; echo "GRPO: eight answers to each picture; the right ones are rewarded."
"$ssl4rl" train --config "$repository/configs/demo/grpo.yaml" --set "model.path=$started" "${settings[@]}"
checkpoints=("$output"/grpo/checkpoints/step-*)
trained=${checkpoints[-1]}
final=$(held_out grpo "$trained")
seconds=$(($(date +%s) - begun))

# The reward over the steps: a row for each tenth, a column for every four steps.
grep -o '"reward":[0-9.e-]*' "$output/grpo/metrics.jsonl" | awk -F: '
    { sum += $2; if (++n % 4 == 0) { mean[++columns] = sum / 4; sum = 0 } }
    END {
        print "\nReward of the samples, steps 1 to " n ":"
        for (row = 10; row >= 1; --row) {
            line = ""
            for (c = 1; c <= columns; ++c) line = line (mean[c] >= row / 10 - 0.05 ? "#" : " ")
            printf "  %.1f |%s\n", row / 10, line
        }
        line = ""; for (c = 1; c <= columns; ++c) line = line "-"
        print "      +" line
    }'

cat <<TABLE

Held-out accuracy (rotation by 0, 90, 180 or 270 degrees, chance 0.25):

| model                  | accuracy |
|------------------------|----------|
| at start (random)      | $start     |
| after supervised start | $supervised     |
| after GRPO             | $final     |

Written to $output:
  model/                  the random model and its pictures (model/images)
  sft/ grpo/              the runs: config.yaml, metrics.jsonl, completions/, checkpoints/
  eval/                   predictions and results on the held-out pictures
The trained model, a Hugging Face directory:
  $trained

TABLE
echo "demo: seed $seed, start $start, after supervised start $supervised, after GRPO $final, $seconds s"
