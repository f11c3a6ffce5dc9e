#!/usr/bin/env bash
# Ends the cluster of scripts/slurm/start.sh with all that runs on it, and removes its folder; where there is none, it does
# nothing.
#
#   scripts/slurm/stop.sh [FOLDER]        # default: $SLURM_TEST, else /tmp/blindfold-slurm-<user id>
set -euo pipefail

folder=${1:-${SLURM_TEST:-/tmp/blindfold-slurm-$(id -u)}}
[ -e "$folder/slurm.conf" ] || [ -e "$folder/munge/key" ] || exit 0

# Whether the process of a pid file is there, is that program, and is no zombie that nobody waits for.
alive() {
    local name state
    pid=$(cat "$folder/$1.pid" 2>/dev/null) && read -r _ name state _ 2>/dev/null <"/proc/$pid/stat" &&
        [ "$name" = "($1)" ] && [ "$state" != Z ]
}

export SLURM_CONF=$folder/slurm.conf
if alive slurmctld && timeout 10 scontrol ping >/dev/null 2>&1; then
    timeout 20 scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 75); do
        [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
        sleep 0.2
    done
fi
for daemon in slurmd slurmctld munged; do
    alive "$daemon" || continue
    kill "$pid"
    for _ in $(seq 50); do
        alive "$daemon" || break
        sleep 0.2
    done
    ! alive "$daemon" || kill -KILL "$pid"
done
rm -rf "$folder"
