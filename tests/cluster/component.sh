#!/bin/bash
# Faults on demand:  component.sh STATE VERB NAME
#   stop | kill | start    etcd, kube-apiserver, kube-controller-manager, kube-scheduler, coredns, s3,
#                          node1, node2 (a power cut, and back)
#   pause | resume         the same, but nodes: the process stands still (SIGSTOP) and goes on
#   cut | heal             node1, node2, s3: the cable is pulled, and plugged in again
# What has stopped stays so until it is started. Inside a node the kubelet, containerd and kube-proxy come back by
# themselves when killed. Verbs wait until it is done; start waits until it serves.
source "$(dirname "$0")/lib.sh"
for part in network control-plane node s3; do source "$here/$part.sh"; done
usage="usage: component.sh STATE stop|kill|start|pause|resume|cut|heal NAME (see the head of this script)"
[ $# = 3 ] || die "$usage"
load_cluster "$1"
verb=$2 name=$3
case $name in
  etcd | kube-apiserver | kube-controller-manager | kube-scheduler | coredns | s3) ;;
  node[12]) [ "${name#node}" -le "$nodes" ] || die "there is no $name in this cluster" ;;
  *) die "unknown name $name; $usage" ;;
esac
running() { pid_of "$name" || die "$name is not running"; }

case $verb:$name in
  start:*) ! pid_of "$name" >/dev/null || die "$name is running" ;;&
  start:node?) node_up "${name#node}" ;;
  start:s3) start_s3 && wait_for_s3 ;;
  start:*)
    "start_${name//-/_}"
    case $name in
      etcd) wait_for 60 etcd etcd_ready ;;
      kube-apiserver) wait_for 60 "the API server" apiserver_ready ;;
      coredns) wait_for 30 DNS coredns_ready ;;
    esac
    ;;
  stop:node? | kill:node?) node_down "${name#node}" ;;
  stop:s3 | kill:s3) stop_s3 ;;
  stop:kube-apiserver) stop "$name" 2 ;; # open watches would hold it for a minute
  stop:*) stop "$name" ;;
  kill:*) stop "$name" 0 ;;
  pause:node? | resume:node?) die "a node cannot be paused: cut it" ;;
  # The processes it has started are its own; nsenter has become the program itself.
  pause:*) kill -STOP "$(running)" ;;
  resume:*) kill -CONT "$(running)" ;;
  cut:node? | cut:s3) set_link "$name" down ;;
  heal:node? | heal:s3) set_link "$name" up ;;
  cut:* | heal:*) die "$name has no cable of its own: cut node1" ;;
  *) die "unknown verb $verb; $usage" ;;
esac
