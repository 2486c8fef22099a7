#!/bin/bash
# Says what of a cluster is alive, with resident memory:  status.sh STATE.  Fails when something is not.
source "$(dirname "$0")/lib.sh"
[ $# = 1 ] || die "usage: status.sh STATE"
load_cluster "$1"
failed=0

line() { # NAME PID
  printf '%-28s pid %-7s %5.0f MiB\n' "$1" "$2" "$(awk '/^VmRSS/ {print $2 / 1024}' "/proc/$2/status")"
}
for name in etcd kube-apiserver kube-controller-manager kube-scheduler coredns s3; do
  if pid=$(pid_of $name); then line $name "$pid"; else echo "$name is dead"; failed=1; fi
done
for ((n = 1; n <= nodes; n++)); do
  if ! pid=$(node_init "$n"); then echo "node$n is dead"; failed=1; continue; fi
  for name in containerd kubelet kube-proxy; do
    # Seen from outside, by the process namespace that only this node's processes have.
    if child=$(pgrep --ns "$pid" --nslist pid -o -x $name); then line "node$n $name" "$child"; else echo "node$n $name is dead"; failed=1; fi
  done
done
kubectl get nodes -o wide || failed=1
exit $failed
