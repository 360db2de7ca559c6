#!/usr/bin/env bash
# Trains under a real SLURM of one node on this machine, with a time limit that the run does not fit into: two ranks are
# stopped by the limit's signal, save, requeue, go on, finish; their weights must equal an uninterrupted run's bit for bit.
# Then the batch scripts for evaluations and sweeps.
#
#   scripts/test_slurm.sh [--keep]      needs Debian's slurmctld, slurmd, slurm-client and munge, and root; some minutes
#
# SLURM runs in a folder of its own below /tmp, on ports of its own, and is ended with the test. --keep leaves the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=
case "${1:-}" in
    --keep) keep=1 ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
for program in munged slurmctld slurmd sbatch srun; do
    command -v "$program" >/dev/null || { echo "test_slurm: $program is missing (apt-get install slurmctld slurmd slurm-client munge)" >&2; exit 1; }
done
[ "$(id -u)" -eq 0 ] || { echo "test_slurm: must be root" >&2; exit 1; }

program=$PWD/build/release/bin/ssl4rl
work=$(mktemp -d /tmp/ssl4rl-slurm.XXXXXX)
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
daemons=()
stop_all() {
    local status=$? pid
    scancel --quiet --user "$(id -un)" 2>/dev/null || true
    for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ -n "$keep" ]; then echo "test_slurm: everything is in $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap stop_all EXIT
say() { echo "$(date +%T) $*"; }

mkdir -p "$work"/{state,spool,munge}
chmod 700 "$work/munge"
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 600 "$work/munge/key"
munged --foreground --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed" --force >"$work/munge/out" 2>&1 &
daemons+=($!)
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=10
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=2000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
sleep 1
slurmctld -D -c >"$work/slurmctld.out" 2>&1 &
daemons+=($!)
slurmd -D >"$work/slurmd.out" 2>&1 &
daemons+=($!)
for _ in $(seq 30); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    sleep 1
done
sinfo

"$program" init --preset demo --output "$work/model" --quiet
cat >"$work/run.yaml" <<YAML
model: {path: model, dtype: float32}
data: {images: model/images, min_side: 28}
run: {output_dir: runs, threads: 1, deterministic: true}
tasks: [rotation]
prompt: {style: answer}
rollout: {num_generations: 8, max_completion_length: 24, stop: [e, a, " "]}
reward: {length: 1, min_length: 2, max_length: 6}
train: {steps: ${STEPS:-250}, prompts_per_step: 16, learning_rate: 1.0e-4}
log: {tensorboard: false}
YAML
export SSL4RL=$program
submit() {  # NAME LIMIT ARGUMENT… of sbatch → runs to its end; prints the job's log
    local job name=$1 limit=$2
    shift 2
    job=$(sbatch --parsable --job-name="$name" --time="$limit" --signal=B:USR1@20 --output="$work/$name.log" "$@")
    say "job $job ($name) submitted with a limit of $limit min"
    local state='' last=''
    while true; do
        state=$(squeue --noheader --jobs="$job" --format=%T 2>/dev/null || true)
        [ "$state" = "$last" ] || say "job $job: $(echo "${state:-gone}" | tr '\n' ' ')"
        last=$state
        case "$state" in ''|COMPLETED|FAILED) break ;; esac
        sleep 1
    done
    scontrol show job "$job" 2>/dev/null | grep -oE '(JobState|Restarts|ExitCode)=[^ ]+' | tr '\n' ' '; echo
    grep -vE 'info: step [0-9]+/' "$work/$name.log"
    ! scontrol show job "$job" | grep -q JobState=FAILED || { echo "test_slurm: job $name failed" >&2; exit 1; }
}
submit interrupted 1 --ntasks-per-node=2 scripts/slurm/train.sbatch "$work/run.yaml" --set run.name=interrupted
submit whole 30 --ntasks-per-node=2 scripts/slurm/train.sbatch "$work/run.yaml" --set run.name=whole

requeued=$(grep -c 'goes back to the queue' "$work/interrupted.log" || true)
lines=$(wc -l <"$work/runs/interrupted/metrics.jsonl")
hashes() { (cd "$work/runs/$1/checkpoints/$(printf 'step-%06d' "${STEPS:-250}")" && sha256sum model.safetensors trainer/optimizer.safetensors); }
a=$(hashes interrupted)
b=$(hashes whole)
say "requeued $requeued times; $lines lines of metrics"
say "weights and optimiser: $(echo "$a" | cut -c1-16 | tr '\n' ' ')and $(echo "$b" | cut -c1-16 | tr '\n' ' ')"
[ "$requeued" -ge 1 ] || { echo "test_slurm: the time limit did not stop the run; raise STEPS" >&2; exit 1; }
[ "$lines" -eq "${STEPS:-250}" ] || { echo "test_slurm: expected ${STEPS:-250} lines of metrics" >&2; exit 1; }
[ "$a" = "$b" ] || { echo "test_slurm: the weights differ" >&2; exit 1; }

# A benchmark in two parts, and a task beside it.
for i in $(seq 0 11); do
    mkdir -p "$work/classes/class$((i % 4))"
    cp "$work/model/images/$(printf '%05d' "$i").png" "$work/classes/class$((i % 4))/"
done
checkpoint=$work/runs/whole/checkpoints/$(printf 'step-%06d' "${STEPS:-250}")
submit eval 5 --ntasks-per-node=2 scripts/slurm/eval.sbatch --bench rotation imagenet --model "$checkpoint" --data "$work/classes" \
    --limit 12 --max-new-tokens 8 --threads 1 --output "$work/eval"
find "$work/eval" -name 'result*' -o -name 'summary*' -o -name 'predictions*'

printf 'low train.learning_rate=1e-6\n\nhigh train.learning_rate=1e-3 run.seed=1\n' >"$work/sweep.txt"
submit sweep 5 --array=1-2 scripts/slurm/sweep.sbatch "$work/sweep.txt" "$work/run.yaml" --set train.steps=2
for name in low high; do
    [ "$(wc -l <"$work/runs/$name/metrics.jsonl")" -eq 2 ] || { echo "test_slurm: the sweep's run $name is not complete" >&2; exit 1; }
done
echo "test_slurm: passed"
