#!/usr/bin/env bash
# Checks the program on a CUDA device: tests and log-probs against the host, short trainings, speed, memory; one summary.
#
#   scripts/gpu_check.sh [--model DIR] [--preset NAME] [--steps N]
#
# DIR is measured besides the small random model that everything else runs on; NAME (demo) is the model for `bench`. Needs a
# build with CUDA (scripts/setup.sh --cuda, then scripts/build.sh cuda). `--rehearse` runs all of it on the CPU against the
# CPU, with build/release, to try the script itself. Exit status 1: something failed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

model="" preset=demo steps=20 device=cuda build=cuda
while [ $# -gt 0 ]; do
    case "$1" in
        --model|--preset|--steps) [ $# -gt 1 ] || { echo "gpu_check: $1 needs a value" >&2; exit 2; } ;;&
        --model) model=$2; shift 2 ;;
        --preset) preset=$2; shift 2 ;;
        --steps) steps=$2; shift 2 ;;
        --rehearse) device=cpu build=release; shift ;;
        -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "gpu_check: unknown option $1 (try --help)" >&2; exit 2 ;;
    esac
done
ssl4rl=$repository/build/$build/bin/ssl4rl
[ -x "$ssl4rl" ] || { echo "gpu_check: $ssl4rl is not there; run scripts/setup.sh --cuda and scripts/build.sh cuda" >&2; exit 1; }
if [ "$device" = cuda ] && ! nvidia-smi -L >/dev/null 2>&1; then
    echo "gpu_check: no CUDA device: nvidia-smi finds none" >&2
    exit 1
fi

folder=$(mktemp -d)
sampler=
trap '[ -z "$sampler" ] || kill "$sampler" 2>/dev/null || true; rm -rf "$folder"' EXIT
failures=()
summary=()

# The device's memory in use, in MiB, once a tenth of a second; the largest value is the peak.
watch_memory() {
    [ "$device" = cuda ] || return 0
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 100 >"$folder/memory" &
    sampler=$!
}
peak_memory() {
    [ -n "$sampler" ] || { echo "-"; return; }
    kill "$sampler" 2>/dev/null || true
    sampler=
    awk '$1 > peak { peak = $1 } END { printf "%.2f GiB\n", peak / 1024 }' "$folder/memory"
}

# Largest difference between the log-probs in two outputs of `score`.
difference() {
    awk '
        function numbers(line) { sub(/.*"logprobs":\[/, "", line); sub(/\].*/, "", line); return line }
        NR == FNR { expected[FNR] = numbers($0); lines = FNR; next }
        {
            n = split(numbers($0), got, ","); m = split(expected[FNR], want, ",")
            if (n != m || n == 0) { print "nan"; bad = 1; exit }
            for (i = 1; i <= n; ++i) { d = got[i] - want[i]; if (d < 0) d = -d; if (d > largest) largest = d }
            seen = FNR
        }
        END { if (!bad) print (seen == lines && lines > 0 ? largest + 0 : "nan") }' "$1" "$2"
}
at_most() { awk -v value="$1" -v limit="$2" 'BEGIN { exit !(value != "nan" && value + 0 <= limit + 0) }'; }

# 1. Attention, models, and whole trainings of tiny models: their tests compare the device with the host.
tests=$repository/build/$build/bin/device_test
if OMP_WAIT_POLICY=passive "$tests" --gtest_brief=1 >"$folder/tests" 2>&1; then
    summary+=("tests: $(grep -o '[0-9]* tests from.*ran' "$folder/tests") against the host, all passed")
else
    summary+=("tests: failed" "$(grep -v ' warning: ' "$folder/tests" | tail -n 40)")
    failures+=("tests ($tests)")
fi

"$ssl4rl" init --quiet --preset demo --output "$folder/demo"
cat >"$folder/run.yaml" <<YAML
run: {name: check, output_dir: $folder/runs}
model: {path: $folder/demo, device: $device}
data: {images: [$folder/demo/images], holdout_fraction: 0.1}
tasks: [{name: rotation, show: single, jitter: 0}]
prompt: {style: answer, template: $repository/configs/demo/prompts.yaml}
rollout: {num_generations: 8, max_completion_length: 12}
train: {steps: $steps, prompts_per_step: 16, learning_rate: 1e-4}
YAML
"$ssl4rl" preview --quiet --config "$folder/run.yaml" --count 32 --output "$folder/puzzles"
sed 's/}$/, "completion": "<answer>90<\/answer>"}/' "$folder/puzzles/puzzles.jsonl" >"$folder/puzzles/input.jsonl"

# 2. Parity: log-probs on the device against float32 on the CPU.
score() { "$ssl4rl" score --quiet --model "$folder/demo" --input "$folder/puzzles/input.jsonl" --output "$1" --device "$2" --dtype "$3"; }
score "$folder/cpu.jsonl" cpu float32
for type in float32 bfloat16; do
    limit=$([ $type = float32 ] && echo 1e-3 || echo 0.3)
    if score "$folder/$type.jsonl" "$device" "$type"; then
        largest=$(difference "$folder/cpu.jsonl" "$folder/$type.jsonl")
    else
        largest=nan
    fi
    summary+=("parity, $type: largest difference of a log-prob $largest (limit $limit)")
    at_most "$largest" "$limit" || failures+=("parity in $type")
done

# 3. A short training, in the device's own type, and its memory; from a model that has learned the form of an answer.
start=$folder/runs/start/checkpoints/step-000100
"$ssl4rl" sft --quiet --config "$folder/run.yaml" --set run.name=start --set train.steps=100 --set train.learning_rate=2e-3 \
    --set sft.labels=random || failures+=("supervised start")
[ -d "$start" ] || start=$folder/demo
watch_memory
if "$ssl4rl" train --config "$folder/run.yaml" --set model.path="$start"; then
    last=$(tail -n 1 "$folder/runs/check/metrics.jsonl")
    field() { grep -o "\"$1\":[-0-9.e+]*" <<<"$last" | cut -d: -f2; }
    summary+=("training: $steps steps, loss $(field loss), grad norm $(field grad_norm), log-prob gap $(field logprob_gap/mean), $(field tokens/s) tokens/s")
else
    failures+=("training")
    summary+=("training: failed")
fi
summary+=("memory of the training: $(peak_memory)")

# 4. Recorded decoding steps: the same training, whose sampler must agree with its trainer.
if "$ssl4rl" train --quiet --config "$folder/run.yaml" --set model.path="$start" --set run.name=recorded --set rollout.cuda_graphs=true; then
    last=$(tail -n 1 "$folder/runs/recorded/metrics.jsonl")
    summary+=("with rollout.cuda_graphs: log-prob gap $(field logprob_gap/mean), $(field tokens/s) tokens/s")
else
    failures+=("training with rollout.cuda_graphs")
fi

# 5. The optimiser's state in bfloat16, and optimiser and reference in the host's memory.
if "$ssl4rl" train --quiet --config "$folder/run.yaml" --set model.path="$start" --set run.name=offloaded --set train.optimizer_dtype=bfloat16 \
    --set algorithm.beta=0.01 --set train.offload='[optimizer, reference]'; then
    last=$(tail -n 1 "$folder/runs/offloaded/metrics.jsonl")
    summary+=("with train.offload: loss $(field loss), $(field tokens/s) tokens/s")
else
    failures+=("training with train.offload")
fi

# 6. Speed.
bench() {
    local output
    if output=$("$ssl4rl" bench --quiet --device "$device" "$@"); then
        summary+=("bench $*:" "$output")
    else
        failures+=("bench $*")
    fi
}
watch_memory
for graphs in "" --cuda-graphs; do
    bench --preset "$preset" --num-generations 8,32 $graphs
    [ -z "$model" ] || bench --model "$model" --num-generations 8,32 --gradient-checkpointing $graphs
done
summary+=("memory of bench: $(peak_memory)")

echo
echo "== $([ "$device" = cuda ] && nvidia-smi -L | head -n 1 || echo "rehearsal on the CPU") =="
printf '%s\n' "${summary[@]}"
if [ ${#failures[@]} -gt 0 ]; then
    printf 'gpu_check: failed: %s\n' "${failures[@]}" >&2
    exit 1
fi
echo "gpu_check: all passed"
