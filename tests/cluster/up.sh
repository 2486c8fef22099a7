#!/bin/bash
# Starts a cluster and its S3 server:  up.sh STATE [--nodes 1|2] [--id 0..9] [--load IMAGE.tar]...
# STATE is a new or empty folder with a short path; STATE/cluster.env tells programs what they need to know. Two clusters
# at a time need two ids.
source "$(dirname "$0")/lib.sh"
for part in preflight certs network control-plane node s3; do source "$here/$part.sh"; done

[ $# -ge 1 ] || die "usage: up.sh STATE [--nodes 1|2] [--id 0..9] [--load IMAGE.tar]..."
state=$(realpath -m "$1") nodes=1 id=0 images=()
shift
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "$1 wants a value"
  case $1 in
    --nodes) nodes=$2 ;;
    --id) id=$2 ;;
    --load) images+=("$(realpath "$2")") ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done
[[ $nodes =~ ^[12]$ && $id =~ ^[0-9]$ ]] || die "--nodes is 1 or 2, --id is a digit"
preflight_root
[ -z "$(ls -A "$state" 2>/dev/null)" ] || die "$state is not empty: down.sh it, or choose another"
# A node sees memory file systems in these places, and a Unix socket's path may have 107 characters.
case $state/ in /run/* | /var/run/* | /var/lib/* | /var/log/*) die "STATE may not lie under /run, /var/lib or /var/log" ;; esac
[ ${#state} -le 60 ] || die "the path of STATE is longer than 60 characters"
use_cluster "$state" "$id"
[ ! -e "/run/netns/$fabric" ] || die "cluster $id is up already, or was not taken down"

tools=$(with_progress "fetching programs" "$cache/fetch.log" "$here/fetch.sh")
bin=$(with_progress "building Kubernetes, once (about ten minutes)" "$cache/build.log" "$here/build.sh")
preflight_kernel

began=$(now_ms)
mkdir -p "$state"/{logs,run,etcd}
# down.sh ends this script before it ends what the script has started.
echo "$$ $(start_time $$) up" >"$state/run/up.pid"
s3_key=$(openssl rand -hex 10) s3_secret=$(openssl rand -hex 20)
write_cluster_env
load_cluster "$state"
exec 8>&2 # where it is heard also while the output of a command is not
trap '[ $? = 0 ] || say "failed; logs are in $state/logs; take it down by: $here/down.sh $state" 2>&8' EXIT
trap 'exit 130' INT TERM # by way of the line above
step() { say "[$((($(now_ms) - began) / 1000)) s] $*"; }

step "network, certificates, S3 server, $nodes node(s)"
lock_machine
ip netns add "$fabric"
save_sysctls
unlock_machine
network_up
write_s3_config
start_s3
make_certificates
# Nodes before the control plane: containerd needs a moment, and the kubelet waits for the API server by itself.
for ((n = 1; n <= nodes; n++)); do node_up "$n"; done

mkdir -p "$state/pause"
cp "$bin/pause" "$state/pause/pause"
"$here/image.py" "$state/pause" codekeep.test/pause:1 "$state/pause.tar" --config '{"Entrypoint": ["/pause"]}'
"$here/load.sh" "$state" "$state/pause.tar" "${images[@]}" 9>&- &
loading=$!

step "control plane"
control_plane_up
for ((n = 1; n <= nodes; n++)); do
  wait_for 60 "node$n to register" kubectl get node "node$n"
done
step "images, nodes, DNS"
wait $loading
kubectl wait --for=condition=Ready node --all --timeout=60s >/dev/null
wait_for 30 DNS coredns_ready
wait_for 20 "the default service account" kubectl get serviceaccount default
wait_for_s3
rm "$state/run/up.pid"
step "up: $state/cluster.env"
