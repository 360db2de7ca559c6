#!/usr/bin/env bash
# Kills a small training run again and again, at random moments, by SIGKILL, SIGTERM and SIGINT, goes on each time with
# --resume auto, and compares the end with that of an uninterrupted run, bit for bit.
#
#   scripts/kill_and_resume.sh [KILLS] [STEPS] [SEED]      60, 900, 1; SSL4RL names the program
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-60} steps=${2:-900} RANDOM=${3:-1}
program=${SSL4RL:-build/release/bin/ssl4rl}
folder=$(mktemp -d "${TMPDIR:-/tmp}/ssl4rl-kills-XXXXXX")
trap 'rm -rf "$folder"' EXIT
export OMP_WAIT_POLICY=passive

"$program" init --preset demo --output "$folder/demo" --quiet
cat > "$folder/base.yaml" <<END
model: {path: tests/data/tiny_qwen2_5_vl}
data: {images: "$folder/demo/images", min_side: 28, workers: 1}
tasks: [{name: rotation, level: 0}]
prompt: {style: answer}
run: {output_dir: "$folder", threads: 1}
END
sed -i "s|tests/data|$PWD/tests/data|" "$folder/base.yaml"
# A start that knows the form of an answer, so that rewards differ and the weights move.
"$program" sft --config "$folder/base.yaml" --quiet --set run.name=start --set sft.labels=random --set train.steps=60 \
    --set train.prompts_per_step=4 --set train.learning_rate=0.003
options=(--config "$folder/base.yaml" --set "model.path=$folder/start/checkpoints/step-000060" --set "train.steps=$steps"
    --set train.prompts_per_step=2 --set train.prompts_per_update=1 --set train.learning_rate=0.0003
    --set train.lr_scheduler=linear --set rollout.num_generations=3 --set rollout.max_completion_length=8
    --set algorithm.beta=0.05 --set curriculum.mode=auto --set curriculum.window=8 --set train.save_every=4
    --set train.keep_last=2 --set train.eval_every=25 --set eval.samples=4 --set data.holdout_fraction=0.2
    --set log.completions_every=1)
begun=$(date +%s%N)
"$program" train "${options[@]}" --set run.name=whole --log-level error
whole=$((($(date +%s%N) - begun) / 1000000))

declare -A statuses=() signals=()
done_kills=0 starts=0 finished_early=0
while [ "$done_kills" -lt "$kills" ]; do
    # The shell lets what it starts with & ignore SIGINT.
    env --default-signal=INT "$program" train "${options[@]}" --set run.name=killed --resume auto >> "$folder/log" 2>&1 &
    run=$!
    starts=$((starts + 1))
    sleep "$(printf '0.%03d' $((RANDOM % 1000)))"
    [ $((RANDOM % 2)) -eq 1 ] && sleep "$(printf '0.%03d' $((RANDOM % 1000)))"
    names=(KILL TERM INT)
    signal=${names[RANDOM % 3]}
    kill -s "$signal" "$run" 2> "$folder/kill" || true
    status=0
    wait "$run" 2> "$folder/kill" || status=$?
    statuses[$status]=$((${statuses[$status]:-0} + 1))
    case $status in
        0) finished_early=1 ;;
        75 | 130 | 137 | 143) done_kills=$((done_kills + 1)) signals[$signal]=$((${signals[$signal]:-0} + 1)) ;;
        *)
            echo "unexpected status $status after $signal:"
            tail -n 5 "$folder/log"
            exit 1
            ;;
    esac
    [ "$finished_early" -eq 1 ] && break
done
"$program" train "${options[@]}" --set run.name=killed --resume auto >> "$folder/log" 2>&1

last=checkpoints/step-$(printf '%06d' "$steps")
differences=0
differs() {
    echo "differs: $1"
    differences=$((differences + 1))
}
while read -r file; do
    cmp -s "$folder/whole/$last/$file" "$folder/killed/$last/$file" || differs "$last/$file"
done < <(cd "$folder/whole/$last" && find . -type f | sort)
diff -rq "$folder/whole/completions" "$folder/killed/completions" > "$folder/diff" || differs completions
# Times, memory and speed are no result.
results() { sed -E 's/"(time\/[a-z]+|tokens\/s|memory)":[^,}]*,?//g' "$folder/$1/metrics.jsonl"; }
cmp -s <(results whole) <(results killed) || differs metrics.jsonl
leftovers=$(find "$folder/killed" -name '*.tmp-*' | wc -l)
echo "$done_kills kills (SIGKILL ${signals[KILL]:-0}, SIGTERM ${signals[TERM]:-0}, SIGINT ${signals[INT]:-0}) of a run of $steps steps, $whole ms alone"
for status in "${!statuses[@]}"; do echo "  status $status: ${statuses[$status]} times"; done
echo "  passed over as damaged: $(grep -c 'passing over' "$folder/log" || true); left half written: $leftovers; checkpoints at the end: $(find "$folder/killed/checkpoints" -mindepth 1 -maxdepth 1 | wc -l)"
echo "  differences from the uninterrupted run (weights, optimiser, state, completions, metrics): $differences"
[ "$finished_early" -eq 0 ] || echo "  the run ended before all kills were done: give it more steps"
[ "$differences" -eq 0 ] && [ "$leftovers" -eq 0 ]
