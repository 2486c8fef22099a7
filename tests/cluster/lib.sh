# Names, processes and waiting: what every script of the cluster shares. Source it; it does nothing by itself.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CODEKEEP_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/codekeep-cluster}

die() { echo "cluster: $*" >&2; exit 1; }
say() { echo "cluster: $*" >&2; }

# Every name and address follows from the cluster's number, so that two clusters never meet.
use_cluster() { # STATE ID
  state=$1 id=$2
  prefix=ckc$id                   # namespaces, links (15 characters at most) and cgroups start with this
  fabric=$prefix-fabric           # the namespace that holds the switch between host, nodes and S3
  net=10.$((80 + id)).0           # .1 is the host, .5 the S3 server, .11 and .12 are the nodes
  host_ip=$net.1
  s3_ip=$net.5
  pods=10.$((230 + id))           # pods of node N get PODS.N.0/24
  services=10.$((96 + id)).0
  dns_ip=$services.10
  s3_endpoint=http://$s3_ip:8333
  pki=$state/pki
  kubeconfig=$state/kubeconfig
}
node_ip() { echo "$net.1$1"; }
node_ns() { echo "$prefix-node$1"; }

# The state folder's cluster.env: lines NAME=VALUE with nothing quoted, for programs to read.
write_cluster_env() {
  (umask 077 && cat >"$state/cluster.env") <<END
CLUSTER_ID=$id
CLUSTER_STATE=$state
CLUSTER_NODES=$nodes
CLUSTER_NODE_IPS=$(for ((n = 1; n <= nodes; n++)); do node_ip "$n"; done | paste -sd,)
CLUSTER_HOST_IP=$host_ip
CLUSTER_DNS_IP=$dns_ip
CLUSTER_PODS=$pods.0.0/16
CLUSTER_SERVICES=$services.0/16
CLUSTER_BIN=$bin
CLUSTER_TOOLS=$tools
CLUSTER_NAMESPACES=$prefix-
KUBECONFIG=$kubeconfig
S3_ENDPOINT=$s3_endpoint
S3_BUCKET=$s3_bucket
AWS_ACCESS_KEY_ID=$s3_key
AWS_SECRET_ACCESS_KEY=$s3_secret
STORE_URL=s3://$s3_bucket/git?endpoint=$s3_endpoint&path-style=true&region=us-east-1
APISERVER_FLAGS=${APISERVER_FLAGS:-}
CONTROLLER_MANAGER_FLAGS=${CONTROLLER_MANAGER_FLAGS:-}
END
}

load_cluster() { # STATE
  local name value
  [ -f "$1/cluster.env" ] || die "no cluster in $1"
  declare -A env=()
  while IFS='=' read -r name value; do env[$name]=$value; done <"$1/cluster.env"
  use_cluster "$(cd "$1" && pwd)" "${env[CLUSTER_ID]}"
  nodes=${env[CLUSTER_NODES]} bin=${env[CLUSTER_BIN]} tools=${env[CLUSTER_TOOLS]}
  s3_bucket=${env[S3_BUCKET]} s3_key=${env[AWS_ACCESS_KEY_ID]} s3_secret=${env[AWS_SECRET_ACCESS_KEY]}
  store_url=${env[STORE_URL]}
  APISERVER_FLAGS=${env[APISERVER_FLAGS]} CONTROLLER_MANAGER_FLAGS=${env[CONTROLLER_MANAGER_FLAGS]}
  PATH=$bin:$tools:$PATH
  export KUBECONFIG=$kubeconfig
}

# A process is known by its number and start time: a number alone may have gone to a stranger.
start_time() { awk '{sub(/.*\) /, ""); print $20}' "/proc/$1/stat" 2>/dev/null; }

start() { # NAME COMMAND...   runs in the background, log and pid file under the state folder
  local name=$1
  shift
  # Without the lock and the output that up.sh and down.sh hold: they end, this goes on.
  setsid "$@" >>"$state/logs/$name.log" 2>&1 </dev/null 8>&- 9>&- &
  echo "$! $(start_time $!) $name" >"$state/run/$name.pid"
}

pid_of() { # NAME   prints the pid while that very process lives
  local pid started
  [ -f "$state/run/$1.pid" ] && read -r pid started _ <"$state/run/$1.pid" || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
  # A zombie has no command line and needs no signal.
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q . || return 1
  echo "$pid"
}

stop() { # NAME [SECONDS]   asks and waits; insists when the time is up, at once with 0
  local name=$1 patience=${2:-5} pid
  if pid=$(pid_of "$name"); then
    if [ "$patience" -gt 0 ]; then
      kill -TERM "$pid" 2>/dev/null || true
      wait_for "$patience" "$name to stop" gone "$name" 2>/dev/null || true
    fi
    gone "$name" || kill -KILL "$pid" 2>/dev/null || true
    wait_for 5 "$name to die" gone "$name"
  fi
  rm -f "$state/run/$name.pid"
}
gone() { ! pid_of "$1" >/dev/null; }

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

wait_for() { # SECONDS WHAT COMMAND...
  local deadline=$(($(now_ms) + $1 * 1000)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$(now_ms)" -gt $deadline ]; then
      say "gave up waiting for $what"
      return 1
    fi
    sleep 0.1
  done
}

# Runs a command of minutes: says what it does, every half a minute how long it has been at it, and the end of its log
# when it fails. What the command prints on its standard output is printed.
with_progress() { # WHAT LOG COMMAND...
  local what=$1 log=$2 began pid ticker result=0
  shift 2
  began=$(now_ms)
  mkdir -p "$(dirname "$log")"
  "$@" 2>"$log" &
  pid=$!
  tell_progress "$what" "$log" "$began" &
  ticker=$!
  wait $pid || result=$?
  kill $ticker 2>/dev/null || true
  wait $ticker 2>/dev/null || true
  if [ $result != 0 ]; then
    tail -n 20 "$log" | sed 's/^/  /' >&2
    say "$what: failed, all of it in $log"
  elif [ $(($(now_ms) - began)) -gt 2000 ]; then
    say "$what: done in $((($(now_ms) - began) / 1000)) s"
  fi
  return $result
}

tell_progress() { # WHAT LOG BEGAN
  exec >/dev/null
  trap 'kill $! 2>/dev/null; exit' TERM
  sleep 2 & wait $!
  say "$1 ... (log: $2)"
  while :; do
    sleep 30 & wait $!
    say "$1 ... $((($(now_ms) - $3) / 1000)) s so far: $(tail -n 1 "$2" | cut -c1-90)"
  done
}

node_init() { # N   the node's first process, as a number that means something out here
  local parent
  parent=$(pid_of "node$1") || return 1
  pgrep --parent "$parent"
}

# The kubelet sets these for the whole machine. The first cluster to come keeps the old values, the last to go puts
# them back; the lock keeps those two apart.
sysctls=(vm.overcommit_memory kernel.panic kernel.panic_on_oops vm.panic_on_oom
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
saved_sysctls=/run/codekeep-cluster.sysctls
lock_machine() { mkdir -p "$cache"; exec 9>"$cache/lock"; flock 9; }
unlock_machine() { exec 9>&-; }
save_sysctls() {
  [ -e "$saved_sysctls" ] || for key in "${sysctls[@]}"; do echo "$key=$(sysctl -n "$key")"; done >"$saved_sysctls"
}
restore_sysctls() {
  if [ -e "$saved_sysctls" ] && ! compgen -G '/run/netns/ckc?-fabric' >/dev/null; then
    sysctl -q -p "$saved_sysctls"
    rm "$saved_sysctls"
  fi
}

# Every controller has a tree of its own under cgroup v1; the one of version 2 ("unified") has no controllers.
cgroup_trees() { find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d; }
