#!/bin/bash
# Gives every node images:  load.sh STATE IMAGE.tar...
# Use a tag other than latest, or imagePullPolicy IfNotPresent: there is no registry to ask.
source "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || die "usage: load.sh STATE IMAGE.tar..."
load_cluster "$1"
shift

load_node() { # N TAR...
  local socket=$state/node$1/containerd.sock tar
  wait_for 30 "containerd of node$1" ready_or_dead "$1"
  for tar in "${@:2}"; do
    ctr --address "$socket" --namespace k8s.io images import "$tar" >/dev/null
  done
}
ready_or_dead() { ctr --address "$state/node$1/containerd.sock" version || gone "node$1"; }
loading=()
for ((n = 1; n <= nodes; n++)); do
  load_node "$n" "$@" &
  loading+=($!)
done
for pid in "${loading[@]}"; do wait "$pid"; done
