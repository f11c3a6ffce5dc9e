#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: munged, slurmctld and slurmd of one user (root or not), without
# systemd, cgroups, accounting or any file outside its folder.
#
#   scripts/slurm/start.sh [FOLDER]       # default: $SLURM_TEST, else /tmp/blindfold-slurm-<user id>
#   eval "$(scripts/slurm/start.sh)"      # and sbatch, squeue, scontrol of this shell talk to it
#
# Prints the line that makes a shell use it. Daemons that run already are left alone, so calling it twice is as good as
# once. SLURM_TEST_CPUS (default 2) says how many tasks may run at once, whatever the machine has. Needs Debian's
# slurm-wlm and munge, or their like. scripts/slurm/stop.sh ends it.
set -euo pipefail

folder=${1:-${SLURM_TEST:-/tmp/blindfold-slurm-$(id -u)}}
cpus=${SLURM_TEST_CPUS:-2}
export PATH=$PATH:/usr/sbin:/sbin

for program in munged slurmctld slurmd sinfo; do
    command -v "$program" >/dev/null || {
        echo "start.sh: there is no $program: apt-get install -y slurm-wlm munge" >&2
        exit 2
    }
done

# Plain characters alone: Slurm's configuration has no quotes.
case $folder in
    /*) ;;
    *) folder=$PWD/$folder ;;
esac
case $folder in
    *[!A-Za-z0-9/._+-]*) echo "start.sh: $folder: take a folder without blanks and signs" >&2; exit 2 ;;
esac
mkdir -p "$folder"/{munge,state,spool,log}
chmod 700 "$folder/state" "$folder/spool"
chmod 755 "$folder" "$folder/munge"

# Whether the process of a pid file is there, is that program, and is no zombie that nobody waits for.
alive() {
    local pid name state
    pid=$(cat "$folder/$1.pid" 2>/dev/null) && read -r _ name state _ 2>/dev/null <"/proc/$pid/stat" &&
        [ "$name" = "($1)" ] && [ "$state" != Z ]
}

# Repeats a command until it succeeds, for half a minute at most.
until_true() {
    local what=$1
    shift
    for _ in $(seq 150); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    echo "start.sh: $what; the last lines of the logs in $folder/log:" >&2
    tail -n 20 "$folder"/log/* >&2
    exit 1
}

free_port() {
    local port
    for port in $(seq "$1" 2 "$(($1 + 400))"); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    echo "start.sh: no free port from $1 on" >&2
    exit 1
}

if ! alive munged; then
    [ -s "$folder/munge/key" ] || (umask 077; head -c 1024 /dev/urandom >"$folder/munge/key")
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed" --num-threads=2
    until_true "munged does not answer" munge --socket="$folder/munge/socket" --no-input
fi

if ! alive slurmctld && ! alive slurmd; then
    # All daemons read one file, so it is written while none of them runs.
    host=$(hostname -s 2>/dev/null || uname -n)
    control=$(free_port 26817)
    user=$(id -un)
    memory=$(awk '/^MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=blindfold
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$control
SlurmdPort=$((control + 1))
AuthType=auth/munge
# A requeued task waits for its old credential to expire: two minutes, if nothing is said.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
JobRequeue=1
# A job of the partition urgent takes the place of one of main, which is put back.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldParameters=node_reg_mem_percent=0
SlurmdParameters=config_overrides
KillWait=10
MinJobAge=600
InactiveLimit=0
Waittime=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
fi

export SLURM_CONF=$folder/slurm.conf
host=$(sed -n 's/^SlurmctldHost=\([^(]*\).*/\1/p' "$SLURM_CONF")
alive slurmctld || slurmctld -f "$SLURM_CONF"
until_true "slurmctld does not answer" scontrol ping
if ! alive slurmd; then
    # Slurm before 24.05 has no `disabled`, and its plugin for version 1 touches nothing that is not asked for.
    for plugin in disabled cgroup/v1; do
        echo "CgroupPlugin=$plugin" >"$folder/cgroup.conf"
        slurmd -f "$SLURM_CONF" -N "$host" 2>/dev/null && break
    done
fi
idle() { sinfo --noheader --format=%T | grep -Eq '^(idle|mixed|allocated)$'; }
until_true "the node does not come up" idle

echo "export SLURM_CONF=$SLURM_CONF"
