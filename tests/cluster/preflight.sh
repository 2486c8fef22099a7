#!/bin/bash
# Says in one line what a machine lacks before anything is changed on it. Sourced by up.sh; run by itself it only looks.

preflight_root() {
  [ "$(id -u)" = 0 ] || die "not root: namespaces, mounts and cgroups need it (or use a cluster that you have: see README.md)"
  local what
  for what in unshare:util-linux pgrep:procps python3:python3; do
    command -v "${what%:*}" >/dev/null || die "${what%:*} is missing: apt-get install ${what#*:}"
  done
  unshare --mount --net --pid --fork true 2>/dev/null || die "this machine gives root no namespaces of its own (CAP_SYS_ADMIN is missing: a container?)"
}

preflight_kernel() {
  local tree missing
  for tree in cpu cpuacct cpuset memory pids devices freezer; do
    [ -d "/sys/fs/cgroup/$tree" ] || die "there is no cgroup v1 hierarchy $tree under /sys/fs/cgroup: the kubelet needs them here (use kind on this machine)"
  done
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || die "the kernel has no overlay file system: containers need it"
  missing=$(unshare --net bash -c '
    ip link add name one type veth peer name two 2>/dev/null || { echo "veth links"; exit; }
    ip link add name switch type bridge 2>/dev/null || { echo "bridges"; exit; }
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter 2>/dev/null ||
      { echo "bridge netfilter (br_netfilter)"; exit; }
    nft "add table ip probe; add chain ip probe nat { type nat hook prerouting priority 0; }" 2>/dev/null ||
      echo "nftables with address translation (nf_tables, nft_nat)"')
  [ -z "$missing" ] || die "the kernel has no $missing: the cluster's network needs it"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  source "$(dirname "$0")/lib.sh"
  preflight_root
  # What it looks with may be among the packages that up.sh installs.
  if command -v nft >/dev/null && command -v ip >/dev/null; then preflight_kernel; fi
fi
