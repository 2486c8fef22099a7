# What dies comes back, and the rest goes on. Sourced by smoke.sh.

kubelet() { pgrep --ns "$(node_init 1)" --nslist pid -o -x kubelet; }
kubelet_is_not() { local now; now=$(kubelet) && [ "$now" != "$1" ]; }
kubelet_returns() {
  local old
  old=$(kubelet) && kill -KILL "$old"
  wait_for 10 "a new kubelet" kubelet_is_not "$old" && wait_for 20 "its API" in_pod hostname
}
api_is_down() { ! kubectl get --raw /readyz --request-timeout=3s; }
component_returns() { # NAME   killed, the Services go on; started, the API is there
  "$here/component.sh" "$state" kill "$1" || return 1
  # With etcd dead the API server still says once or twice that it is ready.
  wait_for 15 "$1 to be missed" api_is_down && every_nodeport_serves || return 1
  "$here/component.sh" "$state" start "$1" && wait_for 30 "the API server" in_pod hostname
}
# The last node: with two nodes the other one goes on.
node_returns() {
  local node=node$nodes
  "$here/component.sh" "$state" kill "$node" || return 1
  kubectl get nodes || return 1
  ! curl -fsS --max-time 3 "http://$(node_ip "$nodes"):30080/" || { echo "a dead node serves"; return 1; }
  "$here/component.sh" "$state" start "$node" || return 1
  wait_for 60 "its pods" every_nodeport_serves && wait_for 30 "the client pod" in_pod hostname &&
    kubectl rollout status -n web deployment/web --timeout=60s && gives_it_back
}

fault_checks() {
  check "a killed kubelet comes back" kubelet_returns
  check "a killed API server comes back, traffic goes on meanwhile" component_returns kube-apiserver
  check "a killed etcd comes back, traffic goes on meanwhile" component_returns etcd
  check "a node dies by power cut and returns with its pods" node_returns
}
