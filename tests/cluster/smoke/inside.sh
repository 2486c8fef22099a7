# A Kubernetes as applications see it: pods, names, addresses, tokens, rules, charts. In the order in which they build on
# each other. Sourced by smoke.sh.

make_image() {
  local root=$work/busybox library
  mkdir -p "$root"/{bin,etc,lib,tmp,www} "$work/deb"
  (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root busybox && dpkg-deb -x busybox_*.deb .)
  cp "$work/deb/bin/busybox" "$root/bin"
  # Dynamic, with the C library beside it: looking up names takes parts of it that cannot be linked in.
  ldd "$root/bin/busybox" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done
  for name in sh sleep timeout httpd wget nslookup hostname cat nc; do ln -sf busybox "$root/bin/$name"; done
  echo 'web:x:65532:65532::/:/bin/sh' >"$root/etc/passwd"
  "$here/image.py" "$root" codekeep.test/busybox:1 "$work/busybox.tar" --config '{"Cmd": ["sh"]}'
  "$here/load.sh" "$state" "$work/busybox.tar"
}
deployed() {
  kubectl apply -f "$here/smoke/web.yaml" &&
    kubectl rollout status -n web deployment/web --timeout=60s &&
    kubectl wait -n client pod/client --for=condition=Ready --timeout=60s
}
field() { kubectl get "$@"; }
web_ip() { field service -n web web -o 'jsonpath={.spec.clusterIP}'; }
resolves_to() { in_pod nslookup "$1" | grep -A9 Name: | grep -q "Address.* $2\$"; }
serves() { curl -fsS --max-time 5 "$1" | grep '^web-'; }
# No -T: with it this wget crashes.
serves_pod() { in_pod timeout 5 wget -q -O - "$1" | grep '^web-'; }
every_pod_serves() {
  local ip
  for ip in $(field pods -n web -l app=web -o 'jsonpath={.items[*].status.podIP}'); do
    serves "http://$ip:8080/" && serves_pod "http://$ip:8080/" || return 1
  done
}
every_nodeport_serves() {
  local n
  for ((n = 1; n <= nodes; n++)); do serves "http://$(node_ip "$n"):30080/" || return 1; done
}
pods_on_every_node() {
  [ "$(field pods -n web -o 'jsonpath={.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = "$nodes" ]
}
unknown_name_fails_at_once() { refused NXDOMAIN timeout 3 kubectl exec -n client client -- nslookup example.com; }
exec_sees_the_node() { [ "$("$here/exec.sh" "$state" 1 hostname)" = node1 ]; }
exec_keeps_exit_codes() { local code=0; "$here/exec.sh" "$state" 1 sh -c 'exit 7' || code=$?; [ $code = 7 ]; }
logs_tell() { kubectl logs -n web deployment/web | grep serving; }
forwards() {
  local pid result=0
  kubectl port-forward -n web deployment/web $((18081 + id)):8080 >/dev/null 2>&1 &
  pid=$!
  wait_for 10 "the forwarded port" serves "http://127.0.0.1:$((18081 + id))/" || result=1
  kill $pid
  return $result
}
widget() { # NAME OWNER SIZE
  printf 'apiVersion: smoke.codekeep.test/v1\nkind: Widget\nmetadata: {name: %s}\nspec: {owner: %s, size: %s}\n' "$@" |
    kubectl apply -f -
}
crd_is_served() {
  kubectl apply -f "$here/smoke/crd.yaml" &&
    kubectl wait --for=condition=Established crd/widgets.smoke.codekeep.test --timeout=20s && wait_for 10 widgets widget w ann 3
}
token_review() { # AUDIENCE TOKEN
  kubectl create -o 'jsonpath={.status.authenticated} {.status.user.username}' -f - <<END
{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"audiences": ["$1"], "token": "$2"}}
END
}
token_is_reviewed() {
  token_review codekeep "$(kubectl create token -n client default --audience codekeep)" |
    grep -x 'true system:serviceaccount:client:default'
}
foreign_token_is_not() { token_review codekeep "$(kubectl create token -n client default)" | grep -v true; }
recreated() {
  local old
  old=$(field pods -n web -l app=web -o 'jsonpath={.items[0].metadata.name}')
  kubectl delete pod -n web "$old" --wait=true && kubectl rollout status -n web deployment/web --timeout=30s &&
    [ "$(field pods -n web -l app=web --no-headers | grep -c Running)" = 2 ] && ! field pod -n web "$old"
}
may_not() { [ "$(kubectl auth can-i "$@" --as system:serviceaccount:client:default)" = no ]; }
chart_lives() {
  helm install tiny "$here/smoke/chart" -n client --wait --timeout 60s && helm test tiny -n client --timeout 60s &&
    helm upgrade tiny "$here/smoke/chart" -n client --set replicas=2 --wait --timeout 60s && helm uninstall tiny -n client --wait
}

inside_checks() {
  check "status tells that everything is alive" "$here/status.sh" "$state"
  check "an image made from a folder is loaded" make_image
  check "a restricted Deployment and a client pod run" deployed
  check "pods are spread over all nodes" pods_on_every_node
  check "host and pods reach every pod" every_pod_serves
  check "a Service name resolves to its address" resolves_to web.web.svc.cluster.local "$(web_ip)"
  check "a pod reaches a Service by name" serves_pod http://web.web/
  check "a pod reaches an ExternalName into another namespace" serves_pod http://alias/
  check "an unknown name is refused at once" unknown_name_fails_at_once
  check "the host reaches NodePorts" every_nodeport_serves
  check "the host reaches service addresses" serves "http://$(web_ip)/"
  check "exec.sh: a command in the node reaches a Service by name" "$here/exec.sh" "$state" 1 curl -fsS http://web.web.svc.cluster.local/
  check "exec.sh: the same from the host" "$here/exec.sh" "$state" host curl -fsS http://web.web.svc.cluster.local/
  check "exec.sh: it is the node" exec_sees_the_node
  check "exec.sh: exit codes come through" exec_keeps_exit_codes
  check "kubectl exec" in_pod hostname
  check "kubectl logs" logs_tell
  check "kubectl port-forward" forwards
  check "a custom resource is served" crd_is_served
  check "a rule refuses a bad value" refused 'size must stay below 10' widget w ann 11
  check "a rule refuses a change" refused 'owner is immutable' widget w bob 3
  check "a requested token passes review" token_is_reviewed
  check "a token for another audience does not" foreign_token_is_not
  check "access is denied by default" may_not get secrets -n client
  check "the restricted policy refuses a privileged pod" refused 'violates PodSecurity' kubectl apply -f "$here/smoke/pod.yaml"
  check "a deleted pod is replaced" recreated
  check "helm installs, tests, upgrades, uninstalls" chart_lives
}
