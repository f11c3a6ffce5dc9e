# From here on every task is the same.
near=
mapfile -t -s "$(($1 + SLURM_ARRAY_TASK_ID))" -n 1 cell <"$cells"
if [ -z "${cell[0]}" ]; then
    echo "task.sh: $cells has no cell for task $SLURM_ARRAY_TASK_ID of those from line $1" >&2
    exit 2
fi
lives=${SLURM_RESTART_COUNT:-0}
echo "${cell[0]}: life $((lives + 1)), on ${SLURMD_NODENAME:-$HOSTNAME}"
export RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-$SLURM_CPUS_ON_NODE}"
# A run that is put back goes on: it must not be begun afresh.
if [ "$lives" -gt 0 ]; then afresh=(); fi

"${run[@]}" "${afresh[@]}" --patient --cell "${cell[0]}" </dev/null &
child=$!
# Before the time limit Slurm interrupts this shell alone: the run keeps a checkpoint and stops.
trap 'near=yes; kill -TERM "$child" 2>/dev/null' INT
# What ends the job is sent to all of its processes: this one waits for the run.
trap : TERM
while true; do
    wait "$child"
    code=$?
    if [ "$code" -le 128 ] || ! kill -0 "$child" 2>/dev/null; then break; fi
done

if [ -n "$near" ] && [ "$code" -ne 0 ]; then
    if [ "$lives" -lt "$requeues" ]; then
        echo "task.sh: the time limit is near: the task is put back, and goes on from its checkpoint" >&2
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    else
        echo "task.sh: the time limit is near, and the task was put back $lives times: raise study.slurm.time" >&2
    fi
fi
exit "$code"
