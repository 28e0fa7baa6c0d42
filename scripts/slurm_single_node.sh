#!/usr/bin/env bash
# A SLURM cluster of one node, this machine, for tests and for trying hydra/launcher=slurm. As root, on Debian.
#   scripts/slurm_single_node.sh start    installs slurm-wlm and munge if missing; prints what to export
#   scripts/slurm_single_node.sh stop
# All of its files lie in one folder: a cluster's own configuration of this machine is neither read nor changed.
set -euo pipefail
home=${STNLAB_SLURM:-${TMPDIR:-/tmp}/stnlab-slurm}
export SLURM_CONF=$home/slurm.conf

refuse() {
    echo "slurm_single_node.sh: $1" >&2
    exit 1
}

installed() {
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null || return 1
    done
}

install() {
    if installed; then return; fi
    command -v apt-get >/dev/null || refuse "SLURM is missing, and only Debian's packages (slurm-wlm, munge) are known here"
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p "$home"
    {
        apt-get update &&
            apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 slurmctld slurmd slurm-client munge
    } >"$home/install.log" 2>&1 || refuse "SLURM could not be installed: $(tail -n 1 "$home/install.log")"
}

configure() {
    mkdir -p "$home"/{state,spool,munge}
    chmod 700 "$home/munge"
    [ -e "$home/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$home/munge/key")
    cat >"$SLURM_CONF" <<CONF
ClusterName=stnlab
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$((20000 + $$ % 10000))
SlurmdPort=$((30000 + $$ % 10000))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=6 RealMemory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 DefMemPerCPU=1024
PartitionName=steady Nodes=ALL PriorityTier=1 DefMemPerCPU=1024 PreemptMode=OFF
PartitionName=urgent Nodes=ALL PriorityTier=2 DefMemPerCPU=1024
CONF
}

start() {
    [ "$(id -u)" = 0 ] || refuse "has to be root, for slurmd starts jobs for any user"
    install
    if runs slurmctld && runs slurmd && scontrol ping >/dev/null 2>&1; then
        echo "export SLURM_CONF=$SLURM_CONF"
        return
    fi
    stop
    configure
    munged --socket="$home/munge.socket" --key-file="$home/munge/key" --pid-file="$home/munged.pid" \
        --log-file="$home/munge/log" --seed-file="$home/munge/seed" --force 2>"$home/munged.err" ||
        refuse "munged did not start: $(tail -n 1 "$home/munged.err")"
    slurmctld -c || refuse "slurmctld did not start; see $home/slurmctld.log"
    slurmd || refuse "slurmd did not start; see $home/slurmd.log"
    for _ in $(seq 150); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
            echo "export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    stop
    refuse "the cluster did not come up in 30 s; see $home/slurmctld.log and $home/slurmd.log"
}

runs() {
    [ -e "$home/$1.pid" ] && [ "$(cat "/proc/$(cat "$home/$1.pid")/comm" 2>/dev/null)" = "$1" ]
}

stop() {
    if runs slurmctld && runs slurmd; then
        scancel --user=root --full --signal=KILL 2>/dev/null || true
        scancel --user=root 2>/dev/null || true
        for _ in $(seq 50); do
            [ -n "$(squeue --noheader 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    for daemon in slurmd slurmctld munged; do
        runs $daemon || continue
        pid=$(cat "$home/$daemon.pid")
        kill "$pid"
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) refuse "say start or stop" ;;
esac
