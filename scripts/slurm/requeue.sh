# shellcheck shell=bash
# For the batch scripts beside this file: runs a command as the job's step, passes the time limit's signal on to it, and
# has the job start again where the program stopped with a checkpoint (status 75).
run_and_requeue() {
    srun --kill-on-bad-exit=0 "$@" &
    local step=$! status=0
    trap 'kill -USR1 "$step" 2>/dev/null' USR1
    trap 'kill -TERM "$step" 2>/dev/null' TERM
    while kill -0 "$step" 2>/dev/null; do wait "$step"; done  # a signal ends a wait early
    wait "$step" || status=$?
    if [ "$status" -eq 75 ]; then
        echo "$(date +%T) stopped with a checkpoint; the job goes back to the queue"
        scontrol requeue "$SLURM_JOB_ID"
        sleep 60  # until SLURM ends this script: its own exit must not finish the job
    fi
    return "$status"
}
