# What a cluster could leave on the machine. Sourced by smoke.sh.

# Everything that bears a cluster's marks: namespaces, links, routes, cgroups, mounts, processes.
mine_of() { # PREFIX NET STATE
  {
    ip netns list
    ip -br link
    ip route
    find /sys/fs/cgroup -mindepth 2 -maxdepth 2 -type d
    cut -d' ' -f4,5 /proc/self/mountinfo
  } | grep -F -e "$1-" -e "$2." -e "$3" || true
  # By argument; this script itself and what it starts name the folder, too.
  pgrep -a -f -- "$3/" | grep -v -e smoke -e pgrep || true
}

leftovers() {
  local number
  for number in $first $second; do
    (use_cluster "$work" "$number" && mine_of "$prefix" "$net" "$work/")
  done
  nft list ruleset 2>/dev/null || true
  # While another cluster is up: what it will put back.
  cat "$saved_sysctls" 2>/dev/null || for key in "${sysctls[@]}"; do echo "$key=$(sysctl -n "$key")"; done
  sysctl net.ipv4.ip_forward net.netfilter.nf_conntrack_max 2>/dev/null || true
  # Paths that are fixed in the components.
  ls -d /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers /run/containerd /etc/cni 2>/dev/null || true
  # The S3 server's.
  find /tmp -maxdepth 1 -name 'seaweedfs-*' \( -name "*$((8888 + first)).sock" -o -name "*$((8888 + second)).sock" \) | sort
}

nothing_left() {
  [ ! -e "$one" ] || { find "$one" | head -50; return 1; }
  [ ! -e "$two" ] || { find "$two" | head -50; return 1; }
  diff "$work/before" <(leftovers)
}

end_checks() {
  check "the cluster goes down" "$here/down.sh" "$one" --id "$first"
  check "down may be repeated" "$here/down.sh" "$one" --id "$first"
  # Whatever failed above must not stay.
  "$here/down.sh" "$two" --id "$second" >/dev/null 2>&1 || true
  check "nothing is left behind" nothing_left
}
