# shellcheck shell=bash
# What the scripts of this folder share; they source it, nobody runs it.
#
# A job trains until one of these happens:
# - all epochs are done: the program writes `finished` to $OUT/state, and the job is over;
# - the time is nearly up, by --time-limit or, later, by Slurm's USR1: the program saves a checkpoint, writes `stopped`
#   and ends with exit code 0, and the job requeues itself to go on from that checkpoint;
# - Slurm preempts the job, which sends TERM: the program saves, and Slurm requeues the job, because of --requeue;
# - somebody cancels the job, which also sends TERM: it is not requeued;
# - the program fails: the job ends with its exit code and is not requeued.

# How often a job may go on before it counts as stuck.
MAX_RESTARTS=${MAX_RESTARTS:-50}
# Minutes between the end of training and the end of the job: for saving, and for USR1 to be the second safety net.
SAVE_MINUTES=${SAVE_MINUTES:-5}

# Slurm's D-HH:MM:SS, HH:MM:SS or MM:SS in minutes; nothing for UNLIMITED and the like.
minutes_of() {
    local days=0 clock=$1 seconds=0 part parts
    [[ $clock =~ ^([0-9]+-)?[0-9]+(:[0-9]+){1,2}$ ]] || return 0
    if [[ $clock == *-* ]]; then
        days=${clock%%-*} clock=${clock#*-}
    fi
    IFS=: read -ra parts <<<"$clock"
    for part in "${parts[@]}"; do
        seconds=$((seconds * 60 + 10#$part))
    done
    echo $(((10#$days * 86400 + seconds) / 60))
}

# --time-limit with what is left of the job, or nothing where the job has no limit.
time_limit() {
    local left
    left=$(minutes_of "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%L 2>/dev/null | tr -d ' ')")
    if [[ -n $left ]]; then
        left=$((left > SAVE_MINUTES ? left - SAVE_MINUTES : 1))
        echo "--time-limit=${left}m"
    fi
}

# Runs "$@", passes signals on to it, and leaves its exit code in `code`. srun and Open MPI's mpirun hand USR1 on to
# every rank. TERM goes on as USR1 as well: mpirun answers TERM by killing its ranks a second later, which is no time to
# save.
run_ranks() {
    terminated=no
    "$@" &
    local child=$!
    trap 'kill -USR1 "$child" 2>/dev/null' USR1
    trap 'terminated=yes; kill -USR1 "$child" 2>/dev/null' TERM
    # A signal ends `wait` early; only when the child is gone, its code counts.
    while :; do
        code=0
        wait "$child" || code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    trap - USR1 TERM
}

# Trains with "$@", the launcher and the program with all options but those of saving and resuming, and requeues the job
# if there is more to do. OUT is the folder of results.
train() {
    local limit state
    mkdir -p "$OUT"
    limit=$(time_limit)
    echo "job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-?}, start $((${SLURM_RESTART_COUNT:-0} + 1)), ${limit:-no limit}"
    # A state of an earlier start says nothing about this one.
    rm -f "$OUT/state"
    run_ranks "$@" --out "$OUT" --resume auto ${limit:+"$limit"}
    state=$(cat "$OUT/state" 2>/dev/null || echo none)
    echo "training ended with exit code $code, state $state"
    if ((code != 0)); then
        exit "$code"
    elif [[ $state == finished ]]; then
        exit 0
    elif [[ $state != stopped ]]; then
        echo "error: $OUT/state says $state, so it is not known how far training came; not requeued" >&2
        exit 1
    elif [[ $terminated == yes ]]; then
        echo "terminated from outside; not requeued from here; $OUT holds the newest checkpoint"
        exit 0
    elif ((${SLURM_RESTART_COUNT:-0} >= MAX_RESTARTS)); then
        echo "error: $MAX_RESTARTS restarts without an end; give the job more time, or set MAX_RESTARTS" >&2
        exit 1
    fi
    scontrol requeue "$SLURM_JOB_ID"
}
