#!/usr/bin/env bash
# A study by Slurm gives the tables of the same study run here, though one of its tasks is killed and another preempted.
#
#   scripts/check_slurm.sh [PROGRAM]      # default: the release build of this repository, built now
#
# Starts a Slurm cluster of one node in a temporary folder (scripts/slurm/start.sh; needs Debian's slurm-wlm and munge),
# runs a small study of shapes10 with `--jobs 1` and with `--launcher slurm`, kills a training in the middle and requeues
# its task, lets an urgent job take the place of another, and compares ledgers, tables and pages. Minutes on two cores.
# Exit 0: all equal. KEEP=1 leaves folder and cluster as they are at the end.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

program=${1:-}
if [ -z "$program" ]; then
    (cd "$repository" && cargo build --release -p blindfold-runner)
    program=${CARGO_TARGET_DIR:-$repository/target}/release/blindfold
fi
program=$(realpath "$program")

say() { echo "== $*"; }
fail() {
    echo "check_slurm.sh: $*" >&2
    exit 1
}

work=$(mktemp -d /tmp/blindfold-check-slurm.XXXXXX)
finish() {
    if [ "${KEEP:-0}" = 1 ]; then
        echo "kept: $work; scripts/slurm/stop.sh $work/cluster ends the cluster"
    else
        "$repository/scripts/slurm/stop.sh" "$work/cluster"
        rm -rf "$work"
    fi
}
trap finish EXIT

say "a cluster in $work/cluster"
cluster=$(SLURM_TEST_CPUS=2 "$repository/scripts/slurm/start.sh" "$work/cluster")
eval "$cluster"
sinfo

# Two projects with the same study; the second lies where names must be quoted.
here=$work/here there="$work/by 'slurm' 100%A"
for project in "$here" "$there"; do
    mkdir -p "$project/experiments/check"
    ln -s "$repository/configs" "$repository/models" "$project/"
    cat >"$project/experiments/check/study.toml" <<'TOML'
[study]
summary = "a small study, for the check of the Slurm launcher"
base = "base/shapes10-resnet20.toml"
protocols = ["gdfq"]
bits = ["w4a4"]
methods = ["zeroq", "squant", "brecq", "zeroq-kd"]
seeds = [1, 2]
baseline = "zeroq"
fast = true

[study.slurm]
partition = "main"
time = "30"
cpus_per_task = 1
extra = ["--nice=10"]
setup = ["ulimit -c 0"]

[fast]
distill = { epochs = 12, iterations_per_epoch = 10, batch = 16 }
TOML
done
unset BLINDFOLD_ROOT
blindfold() {
    local project=$1
    shift
    (cd "$project" && "$program" study check "$@")
}

say "the study here, one cell after the other"
blindfold "$here" --jobs 1

say "the study by Slurm"
blindfold "$there" --launcher slurm --throttle 2 --dry-run | grep '^sbatch '
blindfold "$there" --launcher slurm --throttle 2
jobs=$(cd "$there"/results/studies/check/slurm/1 && sed -n 's/.*"job": "\([0-9]*\)".*/\1/p' jobs.json | paste -sd,)
queue() { squeue --noheader --array "--jobs=$jobs" "$@"; }
task_of() {
    local line job first count
    line=$(grep -nxF "$1" "$there"/results/studies/check/slurm/1/cells.txt | cut -d: -f1)
    paste -d' ' <(sed -n 's/.*"job": "\([0-9]*\)".*/\1/p' "$there"/results/studies/check/slurm/1/jobs.json) \
        <(sed -n 's/.*"first": \([0-9]*\).*/\1/p' "$there"/results/studies/check/slurm/1/jobs.json) \
        <(sed -n 's/.*"count": \([0-9]*\).*/\1/p' "$there"/results/studies/check/slurm/1/jobs.json) |
        while read -r job first count; do
            if [ "$line" -gt "$first" ] && [ "$line" -le "$((first + count))" ]; then echo "${job}_$((line - 1 - first))"; fi
        done
}
runs=$there/results/runs

# Waits until the training of a cell has a checkpoint and goes on.
in_the_middle() {
    local run=$runs/$1
    for _ in $(seq 6000); do
        if [ -e "$run/checkpoints/last.bin" ] && grep -q '"status": "RUNNING"' "$run/run.json"; then return; fi
        if grep -q '"status": "COMPLETED"' "$run/run.json" 2>/dev/null; then fail "$1 ended before it was disturbed"; fi
        sleep 0.1
    done
    fail "$1 has no checkpoint after ten minutes"
}

mapfile -t trainings < <(grep '/zeroq-kd/' "$there"/results/studies/check/slurm/1/cells.txt)
[ "${#trainings[@]}" -eq 2 ] || fail "cells.txt has ${#trainings[@]} trainings, not 2"

in_the_middle "${trainings[0]}"
task=$(task_of "${trainings[0]}")
# The lock of a run folder names the process that writes it.
lock=$(find "$runs/${trainings[0]}" -name '.lock-*' -printf '%f\n' | sort -t- -k2n | tail -n 1)
pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$runs/${trainings[0]}/$lock")
say "kill -KILL $pid: ${trainings[0]}, task $task"
kill -KILL "$pid"
for _ in $(seq 300); do
    [ "$(queue --states=all --format='%i %T' | sed -n "s/^$task //p")" != FAILED ] || break
    sleep 0.1
done
queue --states=all
scontrol requeue "$task"

in_the_middle "${trainings[1]}"
say "an urgent job takes the place of ${trainings[1]}, task $(task_of "${trainings[1]}")"
sbatch --parsable --partition=urgent --ntasks=2 --output=/dev/null --wrap='sleep 1' >/dev/null
sleep 1
blindfold "$there" --collect

say "until the queue is empty"
for _ in $(seq 1200); do
    [ -n "$(queue)" ] || break
    sleep 0.5
done
queue --states=all
[ -z "$(queue)" ] || fail "the queue is not empty after ten minutes"
blindfold "$there" --collect
tail -n 5 "$there"/results/studies/check/slurm/1/logs/*

say "the same?"
for training in "${trainings[@]}"; do
    grep -q '"resumed": [1-9]' "$runs/$training/run.json" || fail "$training was disturbed, but was not taken up again"
done
"$repository/scripts/slurm/same_tables.py" "$here/experiments/check" "$there/experiments/check"
# With the same seconds, page, tables and figures are the same to the byte.
cp "$here/experiments/check/results.jsonl" "$there/experiments/check/results.jsonl"
blindfold "$there" --tables
diff --recursive --exclude=.claims "$here/experiments/check" "$there/experiments/check"
[ -z "$(find "$there/experiments/check/.claims" -mindepth 1 -maxdepth 1 -name '[0-9a-f]*')" ] || fail "claims are left"
say "equal"
