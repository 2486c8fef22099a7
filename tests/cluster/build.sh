#!/bin/bash
# Builds Kubernetes, CoreDNS and the pause program from Go modules and C, once per set of versions.
# Prints the folder that holds the programs. The first run takes minutes; later ones find the cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${CODEKEEP_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/codekeep-cluster}

hash=$(cd "$here" && cat build.sh go.mod go.sum main.go coredns/go.mod coredns/go.sum coredns/main.go pause.c | sha256sum)
bin=$cache/${hash:0:16}
if [ -e "$bin/complete" ]; then
  echo "$bin"
  exit
fi
command -v go >/dev/null || { echo "cluster: Go 1.26 or newer is missing: it compiles Kubernetes, once" >&2; exit 1; }
export GOTOOLCHAIN=local
found=$(go env GOVERSION)
[[ $found =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 26 ]] ||
  { echo "cluster: Go is $found, but Kubernetes needs 1.26 or newer" >&2; exit 1; }

mkdir -p "$bin"
exec 9>"$bin/lock"
flock 9 # two test runs that start together build once

# -mod=readonly and the committed go.sum files guarantee that what is compiled is what was reviewed; without version
# control stamps the same sources give the same bytes in every checkout.
export GOFLAGS='-mod=readonly -trimpath -buildvcs=false' CGO_ENABLED=0
version=$(cd "$here" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
stamp=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  # Without these every component reports v0.0.0-master and version-skew checks misbehave.
  stamp+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
  stamp+=" -X $package.gitTreeState=clean -X $package.gitCommit=module -X $package.buildDate=1970-01-01T00:00:00Z"
done

if [ ! -e "$bin/complete" ]; then
  (cd "$here" && nice go build -ldflags "-s -w$stamp" -o "$bin/localcluster" .) >&2
  (cd "$here/coredns" && nice go build -ldflags "-s -w" -o "$bin/coredns" .) >&2
  gcc -static -Os -s -o "$bin/pause" "$here/pause.c"
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    ln -sf localcluster "$bin/$name"
  done
  touch "$bin/complete"
fi
echo "$bin"
