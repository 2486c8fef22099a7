#!/bin/bash
# Stops a cluster and removes everything it made:  down.sh STATE [--id 0..9] [--keep-logs]
# Works on a half-started or crashed cluster too, and may be repeated. With --id also when the state folder is lost.
source "$(dirname "$0")/lib.sh"
for part in network control-plane node s3; do source "$here/$part.sh"; done

usage="usage: down.sh STATE [--id 0..9] [--keep-logs]"
[ $# -ge 1 ] || die "$usage"
state=$(realpath -m "$1") id='' keep_logs=
shift
while [ $# -gt 0 ]; do
  case $1 in
    --id) id=${2:-}; shift 2 ;;
    --keep-logs) keep_logs=1; shift ;;
    *) die "$usage" ;;
  esac
done
[ "$(id -u)" = 0 ] || die "not root"
if [ -f "$state/cluster.env" ]; then
  load_cluster "$state"
else
  [[ $id =~ ^[0-9]$ ]] || die "no cluster in $state; with --id N what is left of cluster N is removed all the same"
  use_cluster "$state" "$id"
  nodes=2
fi

stop up 0 # if it is still at it
# The S3 server first: it holds nobody up, and what pods cannot write any more nobody will read.
stop_s3
for ((n = 1; n <= nodes; n++)); do node_down "$n"; done
control_plane_down
sweep_processes
remove_cgroups
lock_machine
network_down
restore_sysctls
unlock_machine

if [ ! -d "$state" ]; then
  exit
elif [ -n "$keep_logs" ]; then
  find "$state" -mindepth 1 -maxdepth 1 ! -name logs -exec rm -rf {} +
elif [ -e "$state/logs" ] || [ -z "$(ls -A "$state")" ]; then
  rm -rf "$state"
else
  die "$state holds no cluster's files: left alone"
fi
