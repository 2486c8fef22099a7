# Two clusters at a time, and clusters that broke half way. Sourced by smoke.sh.

# In a subshell each: the variables of the scripts are those of one cluster.
of_second() { (load_cluster "$two" && "$@"); }
two_nodes_ready() { [ "$(kubectl get nodes --no-headers | grep -cw Ready)" = 2 ]; }
knows_nothing_of_first() { refused 'not found' kubectl get namespace web; }
other_keys_fail() { refused 403 curl -fsS --aws-sigv4 aws:amz:us-east-1:s3 --user "$1" "$s3_endpoint/$s3_bucket/"; }

nothing_of_second() {
  local found
  found=$(use_cluster "$two" "$second" && mine_of "$prefix" "$net" "$two")
  [ -z "$found" ] || { echo "$found"; return 1; }
}
half_started() {
  local pid
  setsid "$here/up.sh" "$two" --id "$second" >"$work/half.log" 2>&1 &
  pid=$!
  sleep "$1"
  kill -KILL -- "-$pid" || return 1
  "$here/down.sh" "$two" --id "$second" && nothing_of_second
}
# As when the machine's memory ran out: everything that has a pid file dies, and the state folder is lost.
crashed() {
  "$here/up.sh" "$two" --id "$second" || return 1
  local pid
  for file in "$two"/run/*.pid; do read -r pid _ <"$file" && kill -KILL "$pid"; done
  rm -rf "$two" || return 1
  "$here/down.sh" "$two" --id "$second" && nothing_of_second
}

beside_checks() {
  local key=$s3_key:$s3_secret
  check "a second cluster, of two nodes, comes up beside it" "$here/up.sh" "$two" --nodes 2 --id "$second"
  check "it has two nodes" of_second two_nodes_ready
  check "it knows nothing of the first one" of_second knows_nothing_of_first
  check "the first one's keys do not open its S3" of_second other_keys_fail "$key"
  check "its second node dies by power cut and returns" of_second bare_node_returns
  check "the first one still serves" every_nodeport_serves
  check "the second one goes down and leaves nothing" down_and_nothing
  check "the first one still serves, and has its data" first_is_well
  check "a start killed after 1 s is taken down" half_started 1
  check "a start killed after 4 s is taken down" half_started 4
  check "a crashed cluster without its folder is taken down" crashed
  check "the first one is well after all that" first_is_well
}
kubelet_answers() { kubectl get --raw /api/v1/nodes/node2/proxy/healthz --request-timeout=3s; }
bare_node_returns() {
  kubelet_answers && "$here/component.sh" "$state" kill node2 || return 1
  ! kubelet_answers || { echo "a dead kubelet answers"; return 1; }
  "$here/component.sh" "$state" start node2 && wait_for 60 "node2" kubelet_answers && "$here/status.sh" "$state"
}
down_and_nothing() { "$here/down.sh" "$two" && nothing_of_second; }
first_is_well() { every_nodeport_serves && gives_it_back && "$here/status.sh" "$state"; }
