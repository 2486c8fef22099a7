# Namespaces and links. Host, nodes and S3 server hang on one switch that lives in a namespace of its own, so that
# neither the host's packet filter nor its bridge settings have a say. Sourced by up.sh, down.sh and component.sh.
#
#   host 10.80.0.1 ──veth── [ fabric: bridge ] ──veth── node1 10.80.0.11   pods 10.230.1.0/24
#                                      ├────────veth── node2 10.80.0.12   pods 10.230.2.0/24
#                                      └────────veth── s3    10.80.0.5

network_up() {
  local n m
  ip -n "$fabric" link add switch type bridge
  ip -n "$fabric" link set switch up
  attach_host
  for ((n = 1; n <= nodes; n++)); do attach_node "$n"; done
  for ((n = 1; n <= nodes; n++)); do
    for ((m = 1; m <= nodes; m++)); do
      [ "$n" = "$m" ] || ip -n "$(node_ns "$n")" route add "$pods.$m.0/24" via "$(node_ip "$m")"
    done
  done
  attach "$(s3_ns)" s3 "$s3_ip"
  for ((n = 1; n <= nodes; n++)); do ip -n "$(s3_ns)" route add "$pods.$n.0/24" via "$(node_ip "$n")"; done
}

attach_host() {
  ip link add "$prefix-host" type veth peer name host netns "$fabric"
  ip -n "$fabric" link set host master switch up
  ip addr add "$host_ip/24" dev "$prefix-host"
  ip link set "$prefix-host" up
  # Plain routes, no address translation: pods see the host's address and the host sees theirs. Node 1's proxy turns
  # service addresses into pods for the host.
  ip route add "$services.0/16" via "$(node_ip 1)"
}

attach() { # NAMESPACE PORT IP   a new namespace whose eth0 is that port of the switch
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip -n "$1" link add eth0 type veth peer name "$2" netns "$fabric"
  ip -n "$fabric" link set "$2" master switch up
  ip -n "$1" addr add "$3/24" dev eth0
  ip -n "$1" link set eth0 up
}

attach_node() { # N
  local ns
  ns=$(node_ns "$1")
  attach "$ns" "node$1" "$(node_ip "$1")"
  # There is no default route, so what has no place in the cluster fails at once. But a packet to a service address must
  # be routable before the packet filter gets to redirect it: this is what webhooks and host-network pods send.
  ip -n "$ns" route add "$services.0/16" dev eth0
  # bridge-nf-call-iptables: a reply between two pods of one node must pass the packet filter to be translated back.
  ip netns exec "$ns" sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  ip route add "$pods.$1.0/24" via "$(node_ip "$1")"
}

set_link() { # PORT up|down   pulls the cable, or plugs it in again
  ip -n "$fabric" link set "$1" "$2"
}

network_down() {
  local ns
  ip link delete "$prefix-host" 2>/dev/null || true # its routes go with it
  for ns in $(namespaces); do ip netns delete "$ns"; done
  # The folder is a mount, made by the first namespace on the machine.
  if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns 2>/dev/null || true
  fi
}
namespaces() { ip netns list | awk -v prefix="$prefix-" 'index($1, prefix) == 1 {print $1}'; }

# Whatever still runs in our namespaces, known by nothing but them: a lost state folder must not keep it alive.
sweep_processes() {
  local ns pid
  for ns in $(namespaces); do
    # bash reports nothing for those that end meanwhile.
    for pid in $(ip netns pids "$ns"); do kill -KILL "$pid" 2>/dev/null || true; done
    wait_for 10 "all processes of $ns to die" empty "$ns"
  done
}
empty() { [ -z "$(ip netns pids "$1")" ]; }
