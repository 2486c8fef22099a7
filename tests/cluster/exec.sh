#!/bin/bash
# Runs a command where cluster names resolve:  exec.sh STATE host|1|2 COMMAND...
#   exec.sh STATE host git clone https://hello.team-a.svc.cluster.local/team-a/hello
# host: on this machine, outside the cluster, with the cluster's DNS; survives a node's death.
# 1, 2: inside that node, with its network, processes and mounts, and dies with it.
source "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || die "usage: exec.sh STATE host|1|2 COMMAND..."
load_cluster "$1"
where=$2
shift 2
if [ "$where" = host ]; then
  # The resolver's file is exchanged for this command only, in a mount namespace of its own.
  resolver=$state/resolv.conf
  printf 'nameserver %s\noptions timeout:2\n' "$(node_ip 1)" >"$resolver.$$"
  mv "$resolver.$$" "$resolver"
  # shellcheck disable=SC2016  # for the inner shell
  exec unshare --mount --propagation slave bash -c \
    'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"' "$resolver" "$@"
fi
pid=$(node_init "$where") || die "node$where is not running"
exec nsenter --target "$pid" --net --pid --mount --uts --wd="$PWD" "$@"
